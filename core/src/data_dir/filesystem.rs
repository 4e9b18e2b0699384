//! What lies beneath a path: a network, or a volume mounted into a container.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// `f_type` of network file systems, from Linux's `include/uapi/linux/magic.h` and the drivers' own headers.
///
/// FUSE is not among them: it may be sshfs, but it is also how Docker Desktop mounts a local disk.
#[cfg(target_os = "linux")]
const NETWORK_TYPES: [u64; 14] = [
    0x0000_517b, // SMB
    0x0000_564c, // NCP
    0x0000_6969, // NFS
    0x0047_5047, // GPFS, older
    0x0102_1997, // 9P
    0x0116_1970, // GFS2
    0x00c3_6400, // Ceph
    0x0bd0_0bd0, // Lustre
    0x1983_0326, // BeeGFS
    0x4750_4653, // GPFS
    0x5346_414f, // AFS
    0x7461_636f, // OCFS2
    0xfe53_4d42, // SMB 2 and 3
    0xff53_4d42, // CIFS
];

/// Whether `path` is on a network file system, as far as this operating system tells.
#[cfg(target_os = "linux")]
pub(super) fn is_network(path: &Path) -> io::Result<bool> {
    let stat = rustix::fs::statfs(path)?;
    // The kernel's type is 32 bits wide, whatever the width and sign of the field.
    Ok(NETWORK_TYPES.contains(&(stat.f_type as u64 & 0xffff_ffff)))
}

/// Whether `path` is on a network file system; only Linux is asked.
#[cfg(not(target_os = "linux"))]
pub(super) fn is_network(_path: &Path) -> io::Result<bool> {
    Ok(false)
}

/// Whether `path`, or the directory in which it would be made, is on another device than the root directory, as a
/// volume in a container is.
pub fn is_on_mounted_volume(path: &Path) -> bool {
    let Ok(path) = std::path::absolute(path) else { return false };
    let device = |path: &Path| path.metadata().map(|metadata| metadata.dev()).ok();
    let nearest = path.ancestors().find_map(device);
    nearest.is_some() && nearest != device(Path::new("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_would_be_made_in_the_root_is_not_on_a_volume() {
        assert!(!is_on_mounted_volume(Path::new("/")));
        assert!(!is_on_mounted_volume(Path::new("/no-such-directory/cryptoserve")));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn another_device_is_a_volume() {
        assert!(is_on_mounted_volume(Path::new("/proc/self")));
        assert!(is_on_mounted_volume(Path::new("/proc/no-such-directory/deeper")));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn kernel_file_systems_are_local() {
        assert!(!is_network(Path::new("/proc")).expect("there is /proc"));
        assert!(is_network(Path::new("/no-such-directory")).is_err());
    }
}
