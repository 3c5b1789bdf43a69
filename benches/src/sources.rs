//! Real source text to unpack, list, search and clone: taken from this machine, filled up with
//! generated files where it has too few.
//!
//! The same machine gives the same files in the same order; everything is copied once into the
//! work directory, so that no subject reads another's files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::Serialize;

use crate::data;
use crate::failure::{Context, Outcome};
use crate::process::{self, Interrupt};

/// Files longer than this are not "small files".
const FILE_LEN_MAX: u64 = 256 << 10;
const LIMIT: Duration = Duration::from_secs(300);
const SUFFIXES: [&str; 24] = [
    "c", "cc", "cpp", "css", "csv", "el", "go", "h", "hpp", "html", "js", "json", "lua", "md",
    "pl", "pm", "py", "rs", "sh", "toml", "ts", "txt", "xml", "yaml",
];

/// What rows on trees work with.
#[derive(Debug, Clone, Serialize)]
pub struct Sources {
    /// Archive with everything below one directory `src`.
    pub archive: PathBuf,
    /// Git repository with the same files.
    pub repository: PathBuf,
    /// Files in the archive.
    pub file_count: u64,
    /// Sum of their lengths.
    pub len: u64,
    /// Where they came from.
    pub origin: String,
}

/// Places where a machine keeps text that people wrote.
#[must_use]
pub fn roots() -> Vec<PathBuf> {
    let home = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let cargo = home("CARGO_HOME").or_else(|| home("HOME").map(|home| home.join(".cargo")));
    let registry = cargo.map(|cargo| cargo.join("registry/src"));
    registry
        .into_iter()
        .chain(["/usr/include".into(), "/usr/share".into()])
        .collect()
}

impl Sources {
    /// Gathers `file_count` files below `dir` and packs them.
    ///
    /// # Errors
    /// When a file cannot be copied, or `tar` or `git` fails.
    pub fn gather(
        dir: &Path,
        roots: &[PathBuf],
        file_count: u64,
        with_repository: bool,
        interrupt: &Interrupt,
    ) -> Outcome<Self> {
        let (tree, log) = (dir.join("tree"), dir.join("sources.log"));
        let top = tree.join("src");
        fs::create_dir_all(&top).context(top.display())?;
        let mut taken: Vec<String> = Vec::new();
        let (mut count, mut len) = (0, 0);
        for root in roots {
            let before = count;
            copy_from(root, &top, &mut count, &mut len, file_count)?;
            if count > before {
                taken.push(format!("{} from {}", count - before, root.display()));
            }
        }
        if count < file_count {
            taken.push(format!("{} generated", file_count - count));
            generate(&top, file_count - count, &mut len)?;
        }
        let archive = dir.join("sources.tar");
        let mut tar = Command::new("tar");
        tar.args(["--sort=name", "--owner=0", "--group=0", "-cf"])
            .arg(&archive);
        tar.arg("-C").arg(&tree).arg("src");
        process::run(tar, LIMIT, &log, interrupt)?;
        if with_repository {
            commit(&top, &log, interrupt)?;
        }
        let origin = taken.join(", ");
        Ok(Self {
            archive,
            repository: top,
            file_count,
            len,
            origin,
        })
    }
}

fn is_source(path: &Path) -> bool {
    let hidden = path
        .file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let suffix = path
        .extension()
        .and_then(|suffix| suffix.to_str())
        .unwrap_or_default();
    !hidden && SUFFIXES.contains(&suffix)
}

fn copy_from(
    root: &Path,
    top: &Path,
    count: &mut u64,
    len: &mut u64,
    count_max: u64,
) -> Outcome<()> {
    let base = top.join(root.file_name().unwrap_or_default());
    let mut pending = vec![root.to_path_buf()];
    while let Some(dir) = pending.pop() {
        let Ok(entries) = fs::read_dir(&dir) else {
            continue;
        };
        let mut entries: Vec<_> = entries.flatten().collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        let inside = base.join(dir.strip_prefix(root).unwrap_or(&dir));
        for entry in &entries {
            let Ok(meta) = entry.metadata() else { continue };
            let fits = meta.is_file() && (1..=FILE_LEN_MAX).contains(&meta.len());
            if !fits || !is_source(&entry.path()) || *count >= count_max {
                continue;
            }
            fs::create_dir_all(&inside).context(inside.display())?;
            // A file that this user may not read is no loss.
            if let Ok(copied) = fs::copy(entry.path(), inside.join(entry.file_name())) {
                *count += 1;
                *len += copied;
            }
        }
        let dirs = entries
            .iter()
            .rev()
            .filter(|entry| entry.file_type().is_ok_and(|t| t.is_dir()));
        let visible = dirs.filter(|dir| !dir.file_name().as_encoded_bytes().starts_with(b"."));
        pending.extend(visible.map(fs::DirEntry::path));
        if *count >= count_max {
            break;
        }
    }
    Ok(())
}

fn generate(top: &Path, count: u64, len: &mut u64) -> Outcome<()> {
    for number in 0..count {
        let dir = top.join(format!("generated/part{:03}", number / 50));
        fs::create_dir_all(&dir).context(dir.display())?;
        let bytes = data::source_like(number);
        let path = dir.join(format!("unit{number:05}.c"));
        fs::write(&path, &bytes).context(path.display())?;
        *len += bytes.len() as u64;
    }
    Ok(())
}

/// Settings under which every git of a run works, whatever the machine's own settings are.
#[must_use]
pub fn git_environment(home: &Path) -> Vec<(String, String)> {
    let home = home.display().to_string();
    [
        ("HOME", home.as_str()),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        // Nothing in the background: it would run into the packing, and into the first rows.
        ("GIT_CONFIG_COUNT", "2"),
        ("GIT_CONFIG_KEY_0", "gc.auto"),
        ("GIT_CONFIG_VALUE_0", "0"),
        ("GIT_CONFIG_KEY_1", "maintenance.auto"),
        ("GIT_CONFIG_VALUE_1", "false"),
        ("GIT_AUTHOR_NAME", "bench"),
        ("GIT_AUTHOR_EMAIL", "bench@localhost"),
        ("GIT_AUTHOR_DATE", "2001-01-01T00:00:00Z"),
        ("GIT_COMMITTER_NAME", "bench"),
        ("GIT_COMMITTER_EMAIL", "bench@localhost"),
        ("GIT_COMMITTER_DATE", "2001-01-01T00:00:00Z"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

fn commit(top: &Path, log: &Path, interrupt: &Interrupt) -> Outcome<()> {
    let commands: [&[&str]; 4] = [
        &["init", "-q", "-b", "main"],
        &["-c", "core.fsync=none", "add", "-A", "-f", "."],
        &[
            "-c",
            "core.fsync=none",
            "commit",
            "-q",
            "-m",
            "Import the sources",
        ],
        &["gc", "-q"],
    ];
    for arguments in commands {
        let mut git = Command::new("git");
        git.args(arguments)
            .current_dir(top)
            .envs(git_environment(top));
        process::run(git, LIMIT, log, interrupt)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathers_real_files_and_fills_up() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real");
        fs::create_dir_all(real.join("sub/.git")).unwrap();
        for name in [
            "a.c",
            "sub/b.rs",
            "sub/.hidden.c",
            "image.png",
            "sub/.git/c.h",
        ] {
            fs::write(real.join(name), "int x;\n").unwrap();
        }
        fs::write(real.join("empty.c"), "").unwrap();
        let work = dir.path().join("work");
        fs::create_dir(&work).unwrap();
        let interrupt = Interrupt::default();
        let sources = Sources::gather(&work, &[real], 5, true, &interrupt).unwrap();
        assert!(sources.origin.starts_with("2 from"), "{}", sources.origin);
        assert!(
            sources.origin.ends_with("3 generated"),
            "{}",
            sources.origin
        );
        let listed = Command::new("tar")
            .arg("-tf")
            .arg(&sources.archive)
            .output()
            .unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let files = listed.lines().filter(|line| !line.ends_with('/')).count();
        assert_eq!(files, 5, "{listed}");
        assert!(sources.repository.join(".git/HEAD").exists());
    }
}
