//! What a bot compiles that takes one of the library crates: as many crates as its README says, and
//! none that only a command line program needs.

#[cfg(test)]
mod dependencies {
    use std::collections::BTreeSet;
    use std::path::Path;
    use std::process::Command;

    /// Crates of a command line program.
    const COMMAND_LINE: [&str; 7] = [
        "clap",
        "comfy-table",
        "indicatif",
        "signal-hook-registry",
        "tempfile",
        "toml",
        "tracing-subscriber",
    ];

    /// The names and versions of all crates that `package` compiles, itself included, as a bot on
    /// Linux takes it: with its default features, and with no feature that another member turns on.
    fn compiled(package: &str) -> BTreeSet<String> {
        let output = Command::new(env!("CARGO"))
            .args(["tree", "--locked", "-e", "normal", "--prefix", "none"])
            .args(["--target", "x86_64-unknown-linux-gnu", "-p", package])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout)
            .expect("cargo prints UTF-8")
            .lines()
            .map(|line| line.split(" (").next().unwrap_or(line).to_owned())
            .collect()
    }

    #[test]
    fn a_bot_compiles_what_the_readmes_say() {
        for (package, folder) in [
            ("roas-domain", "domain"),
            ("roas-db", "db"),
            ("roas-app", "app"),
        ] {
            let crates = compiled(package);
            let readme = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("..")
                .join(folder)
                .join("README.md");
            let readme = std::fs::read_to_string(readme).expect("the README is there");
            let says = format!("A bot that depends on it compiles {} crates", crates.len());
            assert!(readme.contains(&says), "{folder}/README.md: {says}");
            for name in COMMAND_LINE {
                let found = crates
                    .iter()
                    .find(|&found| found.split(' ').next() == Some(name));
                assert_eq!(found, None, "{package}");
            }
        }
    }
}
