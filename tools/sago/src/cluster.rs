//! `sago cluster`.

mod garbage;
mod init;
mod status;

pub use garbage::garbage;
pub use init::{FIRST_START, NewCluster, NewNode, init, make, node_folder};
pub use status::status;
