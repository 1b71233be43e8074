//! Small file systems of their own: real ones, that can be full and lose their power.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

/// A file system that is mounted until this is dropped. Mounting takes root, and a loop device where
/// there is an image; the error says what was missing.
#[derive(Debug)]
pub struct Mounted {
    folder: PathBuf,
}

/// What is written to an ext4 on which the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PowerCut {
    /// Everything, as if the power had held for a moment longer.
    AfterSync,
    /// The file system's journal, but not the data that nobody has synced.
    AfterJournal,
    /// Nothing more.
    AtOnce,
}

impl PowerCut {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::AfterSync, Self::AfterJournal, Self::AtOnce];

    /// `EXT4_GOING_FLAGS_*` of the kernel's `ext4.h`.
    const fn flag(self) -> u32 {
        match self {
            Self::AfterSync => 0,
            Self::AfterJournal => 1,
            Self::AtOnce => 2,
        }
    }
}

impl Mounted {
    /// An empty tmpfs of `mib` MiB, mounted on a new folder.
    ///
    /// # Errors
    ///
    /// Why that is not to be had here.
    pub fn tmpfs(mib: u32, folder: &Path) -> Result<Self, String> {
        let size = format!("size={mib}m");
        Self::new(&["-t", "tmpfs", "-o", &size, "tmpfs"], folder)
    }

    /// An ext4 of `mib` MiB in a new, sparse file `image`, mounted on a new folder. The file has room for
    /// the file system's own needs, so that what it runs out of is room for data.
    ///
    /// # Errors
    ///
    /// Why that is not to be had here.
    pub fn ext4(image: &Path, mib: u32, folder: &Path) -> Result<Self, String> {
        File::create_new(image)
            .and_then(|file| file.set_len(u64::from(mib) * 1_024 * 1_024))
            .map_err(|error| format!("no image: {error}"))?;
        run(Command::new("mkfs.ext4")
            .args(["-q", "-b", "4096", "-E"])
            .arg("nodiscard,lazy_itable_init=0,lazy_journal_init=0")
            .arg(image)
            // Zeros are written, and not left out.
            .env("UNIX_IO_NOZEROOUT", "1"))?;
        Self::image(image, folder)
    }

    /// The file system in an image, mounted on a new folder; one that has lost its power recovers.
    ///
    /// # Errors
    ///
    /// Why that is not to be had here.
    pub fn image(image: &Path, folder: &Path) -> Result<Self, String> {
        let image = image.to_str().ok_or("an image whose name is no text")?;
        Self::new(&["-t", "ext4", "-o", "loop", image], folder)
    }

    fn new(arguments: &[&str], folder: &Path) -> Result<Self, String> {
        fs::create_dir(folder).map_err(|error| format!("no folder to mount on: {error}"))?;
        run(Command::new("mount").args(arguments).arg(folder))?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes it away, with all of its files that are still in memory.
    ///
    /// # Errors
    ///
    /// Why it stays: somebody uses it.
    pub fn unmount(self) -> Result<(), String> {
        run(Command::new("umount").arg(&self.folder))?;
        fs::remove_dir(&self.folder).map_err(|error| error.to_string())?;
        std::mem::forget(self);
        Ok(())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: a database that a failed test has left open closes on a thread of its own. Where
        // even that fails, there is nobody to tell.
        let _ = run(Command::new("umount").arg("--lazy").arg(&self.folder));
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Set for a program that has a mount namespace of its own already.
const OWN_NAMESPACE: &str = "ROAS_FAULTS_OWN_MOUNTS";

/// Starts the running program again, in its place and with a mount namespace of its own: what it mounts
/// goes with it, however it ends, by Ctrl-C or a kill, and nobody else sees it meanwhile. Returns where
/// that is not to be had (it takes root and the program `unshare`), and where it was done before.
pub fn keep_to_this_process() {
    use std::os::unix::process::CommandExt;

    if std::env::var_os(OWN_NAMESPACE).is_some() {
        return;
    }
    let unshare = || {
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--propagation", "private"]);
        unshare
    };
    // Asked beforehand: in the place of this program it could only fail.
    if run(unshare().arg("true")).is_err() {
        return;
    }
    if let Ok(executable) = std::env::current_exe() {
        // Returns where it fails, and then all goes on as without.
        let _ = unshare()
            .arg(executable)
            .args(std::env::args_os().skip(1))
            .env(OWN_NAMESPACE, "1")
            .exec();
    }
}

/// Cuts the power of the ext4 that is mounted on `folder`, for everyone who uses it: nothing that is
/// written from now on reaches the disk, and of what was written before, what `cut` says.
///
/// # Errors
///
/// The system's: the folder is not on an ext4, or the caller is not root.
pub fn cut_power(folder: &Path, cut: PowerCut) -> io::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "a folder has no locks to lose")]
    let folder = File::open(folder)?;
    ioctl::shut_down(&folder, cut.flag())
}

/// The call that the standard library does not have.
mod ioctl {
    #![expect(unsafe_code, reason = "an ioctl is a call with a raw pointer")]

    use std::fs::File;
    use std::io;
    use std::os::fd::AsRawFd;

    nix::ioctl_read!(
        /// `EXT4_IOC_SHUTDOWN`, which the kernel declares as if it answered something.
        ext4_ioc_shutdown,
        b'X',
        125,
        u32
    );

    pub(super) fn shut_down(file: &File, mut flag: u32) -> io::Result<()> {
        // SAFETY: the descriptor is open as long as `file` is, and the pointer is to a `u32`, which is
        // what the call reads. Another file system answers that it does not know the call.
        unsafe { ext4_ioc_shutdown(file.as_raw_fd(), &raw mut flag) }?;
        Ok(())
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("{program}: {}", said.trim()))
        }
        Err(error) => Err(format!("there is no {program}: {error}")),
    }
}
