//! What a machine needs for disks like these.

use std::path::Path;
use std::process::Command;

/// What is missing, for people; none if everything is there.
#[must_use]
pub fn missing() -> Option<&'static str> {
    let needs = [
        (!rustix::process::geteuid().is_root(), "not root: file systems on loop devices cannot be mounted"),
        (!Path::new("/dev/fuse").exists(), "no /dev/fuse"),
        (!Path::new("/dev/loop-control").exists(), "no /dev/loop-control: loop devices"),
        (!runs("mkfs.ext4"), "no mkfs.ext4: Debian package e2fsprogs"),
        (!runs("losetup"), "no losetup: Debian package mount"),
    ];
    needs.into_iter().find_map(|(lacks, what)| lacks.then_some(what))
}

fn runs(program: &str) -> bool {
    Command::new(program).arg("-V").output().is_ok()
}
