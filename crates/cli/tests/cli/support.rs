//! A folder of its own for each test, and the program run in it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A folder, in which the program is run without any settings of the machine.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// The names of all that lies in it.
    pub(crate) fn names(&self) -> Vec<String> {
        let name = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.unwrap().file_name().into_string().unwrap()
        };
        let mut names: Vec<_> = std::fs::read_dir(self.0.path())
            .unwrap()
            .map(name)
            .collect();
        names.sort();
        names
    }

    pub(crate) fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_roas"));
        command
            .args(args)
            .current_dir(self.0.path())
            .stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ROAS_") {
                command.env_remove(name);
            }
        }
        command
    }

    /// Runs a command line, its words separated by spaces.
    pub(crate) fn run(&self, line: &str) -> CommandOutput {
        CommandOutput::of(self.command(line.split_whitespace()))
    }

    /// Runs a command line that has to succeed, and reads its JSON.
    pub(crate) fn json(&self, line: &str) -> Value {
        self.run(&format!("{line} --json")).json()
    }

    /// Starts a command line whose stdin, stdout and stderr are pipes.
    pub(crate) fn spawn(&self, line: &str) -> Child {
        self.command(line.split_whitespace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

/// What a run of the program came to.
#[derive(Debug)]
pub(crate) struct CommandOutput {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl CommandOutput {
    pub(crate) fn of(mut command: Command) -> Self {
        Self::from(command.output().unwrap())
    }

    /// The text of a command that succeeded.
    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert_eq!(self.stderr, "", "{self:?}");
        &self.stdout
    }

    /// The object of a command that succeeded. Nothing but the object may be on stdout.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.object()
    }

    /// The object on stdout, whatever the exit code.
    #[track_caller]
    pub(crate) fn object(&self) -> Value {
        assert_eq!(self.stdout.lines().count(), 1, "{self:?}");
        let value: Value = serde_json::from_str(&self.stdout).unwrap();
        assert!(value.is_object(), "{self:?}");
        value
    }

    /// The one line of a command that failed with exit code 1, and that printed no answer.
    #[track_caller]
    pub(crate) fn failure(&self) -> &str {
        self.line_with_code(1)
    }

    /// The same for any other exit code.
    #[track_caller]
    pub(crate) fn line_with_code(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        self.stderr
            .strip_prefix("roas: ")
            .expect("the program's own line")
            .trim_end()
    }

    /// What is said about wrong usage, at exit code 2.
    #[track_caller]
    pub(crate) fn usage_error(&self) -> &str {
        assert_eq!(self.code, Some(2), "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        &self.stderr
    }
}

impl From<std::process::Output> for CommandOutput {
    fn from(output: std::process::Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

/// A file under `tests/fixtures`; the gateway's captures are `roas-app`'s.
pub(crate) fn fixture(name: &str) -> PathBuf {
    let folder = if name.starts_with("gateway/") {
        "../app/tests/fixtures"
    } else {
        "tests/fixtures"
    };
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(folder)
        .join(name)
}

/// A line as the gateway sends it.
pub(crate) fn message(id: u64, guild: u64, user: u64, timestamp: &str) -> String {
    serde_json::json!({
        "op": 0, "t": "MESSAGE_CREATE",
        "d": {
            "id": id.to_string(), "guild_id": guild.to_string(),
            "author": {"id": user.to_string(), "global_name": "小明"},
            "timestamp": timestamp, "content": "",
        }
    })
    .to_string()
}

/// The keys of an object, in alphabetical order.
pub(crate) fn keys(object: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = object
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    keys
}

/// The bytes of a file that no process has open.
pub(crate) fn bytes(path: &Path) -> Vec<u8> {
    #[expect(clippy::disallowed_methods, reason = "this process opens no database")]
    std::fs::read(path).unwrap()
}
