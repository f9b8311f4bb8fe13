//! What the jailed processes can name: the jail root and nothing else.
//!
//! Runs in the zygote, and `mount_tmp` in the child. Paths come from the plan, never from a request.

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{chdir, chroot, pivot_root};
use std::path::Path;

const NOTHING: Option<&str> = None;

/// What the jail root has under /dev, an empty file each, and the host's device that is mounted over it. Of /dev/full as of
/// /dev/zero, zeroes are read; but it can't be mapped. A shared mapping of /dev/zero is memory that no limit of a process counts.
const DEVICES: [(&str, &str); 3] = [("null", "null"), ("zero", "full"), ("urandom", "urandom")];

/// Cuts propagation, so that nothing mounted from here on shows outside and nothing outside shows here.
pub fn make_private() -> Result<(), Errno> {
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING)
}

/// Mounts the tree over itself: `pivot_root` wants a mount, and flags hold per mount.
pub fn bind(root: &Path) -> Result<(), Errno> {
    mount(Some(root), root, NOTHING, MsFlags::MS_BIND, NOTHING)
}

/// Places the host's three harmless devices. A user namespace may not make device nodes, but may bind them. They can be written
/// to all the same; what a read-only mount keeps is the node itself, which is the host's: whoever may write to a file may
/// set its times, and everybody may read them.
pub fn bind_devices(root: &Path) -> Result<(), Errno> {
    for (name, device) in DEVICES {
        let inside = root.join("dev").join(name);
        mount(Some(&Path::new("/dev").join(device)), &inside, NOTHING, MsFlags::MS_BIND, NOTHING)?;
        remount(&inside, MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC)?;
    }
    Ok(())
}

/// Places a directory of packages over the tree's own, read-only.
pub fn bind_packages(packages: &Path, root: &Path) -> Result<(), Errno> {
    let inside = root.join("packages");
    mount(Some(packages), &inside, NOTHING, MsFlags::MS_BIND, NOTHING)?;
    make_read_only(&inside)
}

/// Makes a bind mount read-only, without set-uid programs and devices.
pub fn make_read_only(mounted: &Path) -> Result<(), Errno> {
    remount(mounted, MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV)
}

/// Adds flags to a bind mount. Those that it has already are named again: in a user namespace they are locked, and leaving one
/// out would be refused.
fn remount(mounted: &Path, flags: MsFlags) -> Result<(), Errno> {
    let now = statvfs(mounted)?.flags();
    let mut flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | flags;
    for (has, keep) in [
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ] {
        if now.contains(has) {
            flags |= keep;
        }
    }
    mount(NOTHING, mounted, NOTHING, flags, NOTHING)
}

/// Makes the tree the root and detaches the old one: with both at the same place, the old root is on top and goes first
/// (`pivot_root(2)`, notes).
pub fn pivot(root: &Path) -> Result<(), Errno> {
    chdir(root)?;
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    chdir("/")
}

/// Makes the tree the root by `chroot`, for kernels that allow no mounts.
pub fn change(root: &Path) -> Result<(), Errno> {
    chdir(root)?;
    chroot(".")?;
    chdir("/")
}

/// Mounts the child's own /tmp, capped in bytes and, where the kernel can, in files.
pub fn mount_tmp(bytes: u64, inodes: Option<u32>) -> Result<(), Errno> {
    let options = match inodes {
        Some(inodes) => format!("size={bytes},nr_inodes={inodes},mode=1777"),
        None => format!("size={bytes},mode=1777"),
    };
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("tmpfs"), "/tmp", Some("tmpfs"), flags, Some(options.as_str()))
}

/// Whether a path can be opened for reading: for checks from inside.
#[must_use]
pub fn can_open(path: &str) -> bool {
    nix::fcntl::open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).is_ok()
}
