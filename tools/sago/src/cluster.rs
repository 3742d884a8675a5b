//! `sago cluster`.

mod finalize;
mod garbage;
mod init;
mod status;

pub use finalize::finalize;
pub use garbage::garbage;
pub use init::{FIRST_START, NewCluster, NewNode, OPERATOR_FOLDER, init, make, node_folder};
pub(crate) use init::{NODE_HEAD, save_toml};
pub(crate) use status::ask_all;
pub use status::status;
