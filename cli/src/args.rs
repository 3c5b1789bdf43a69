//! The command line: names and shapes are stable, others script them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

use crate::units::parse_len;

/// Coffer: an encrypted, healing object store that mounts as a directory.
#[derive(Debug, Parser)]
#[command(name = "coffer", version, max_term_width = 100)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// No progress bars and no remarks, only results and errors
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a new store
    Init(Init),
    /// Mount a store as a directory
    Mount(Mount),
    /// Unmount a store and wait until everything is written
    Umount(Umount),
    /// Store a local file, or standard input, under a path
    Put(Put),
    /// Fetch the file at a path into a local file, or to standard output
    Get(Get),
    /// Write the file at a path to standard output
    Cat(OnePath),
    /// Remove what stands at a path
    Rm(Rm),
    /// Show everything known about a path
    Stat(Stat),
    /// List a directory
    Ls(Ls),
    /// Describe a store; tells more where the key is at hand
    Info(Info),
    /// List, add, remove or change what opens a store
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Read every byte of a store and verify it; with the key also find missing files
    Scrub(Scrub),
    /// Run compaction and garbage collection to their end
    Compact(OneStore),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// What opens the store. Without any of these the passphrase is asked for on the terminal.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Secrets {
    /// Read the passphrase from the first line of this file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, group = "secret")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Read the passphrase from the first line of this open file descriptor
    #[arg(long, value_name = "N", group = "secret")]
    pub(crate) passphrase_fd: Option<u32>,
    /// Use the contents of this file as the key
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, group = "secret")]
    pub(crate) key_file: Option<PathBuf>,
}

/// What shall open the store from now on.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct NewSecrets {
    /// Read the new passphrase from the first line of this file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, group = "new_secret")]
    pub(crate) new_passphrase_file: Option<PathBuf>,
    /// Read the new passphrase from the first line of this open file descriptor
    #[arg(long, value_name = "N", group = "new_secret")]
    pub(crate) new_passphrase_fd: Option<u32>,
    /// Use the contents of this file as the new key
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, group = "new_secret")]
    pub(crate) new_key_file: Option<PathBuf>,
}

/// Cost of the key derivation.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Kdf {
    /// Memory that one try of a passphrase costs [default: 256MiB]
    #[arg(long, value_name = "LEN", value_parser = parse_len, help_heading = "Key derivation")]
    pub(crate) kdf_memory: Option<u64>,
    /// Passes over that memory [default: 3]
    #[arg(long, value_name = "COUNT", help_heading = "Key derivation")]
    pub(crate) kdf_passes: Option<u32>,
    /// Lanes that fill it side by side [default: 4]
    #[arg(long, value_name = "COUNT", help_heading = "Key derivation")]
    pub(crate) kdf_lanes: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EccChoice {
    /// No parity: damage is found, not healed
    None,
    /// One flipped bit per 64 heals; costs an eighth
    Secded,
    /// One damaged piece in 16 per block heals; costs a sixteenth
    Xor,
    /// Two damaged pieces in 10 per block heal; costs a quarter
    ReedSolomon,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompressionChoice {
    None,
    Zstd,
}

/// How a new store keeps its data. Fixed when it is made.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Layout {
    /// Parity beside every block [default: xor]
    #[arg(long, value_name = "KIND", help_heading = "New store")]
    pub(crate) ecc: Option<EccChoice>,
    /// Compression [default: zstd]
    #[arg(long, value_name = "CODEC", help_heading = "New store")]
    pub(crate) compression: Option<CompressionChoice>,
    /// Compression level, -7 (fast) to 22 (small) [default: 1]
    #[arg(long, value_name = "LEVEL", allow_negative_numbers = true,
          value_parser = clap::value_parser!(i8).range(-7..=22), help_heading = "New store")]
    pub(crate) level: Option<i8>,
    #[command(flatten)]
    pub(crate) kdf: Kdf,
}

impl Layout {
    /// Was any of it asked for?
    pub(crate) fn is_given(&self) -> bool {
        let Kdf {
            kdf_memory,
            kdf_passes,
            kdf_lanes,
        } = &self.kdf;
        self.ecc.is_some()
            || self.compression.is_some()
            || self.level.is_some()
            || kdf_memory.is_some()
            || kdf_passes.is_some()
            || kdf_lanes.is_some()
    }
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Directory of the store; made where it is missing
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) store: PathBuf,
    #[command(flatten)]
    pub(crate) layout: Layout,
    #[command(flatten)]
    pub(crate) secrets: Secrets,
}

#[derive(Debug, Args)]
pub(crate) struct Mount {
    /// Make the store and the mount point where they are missing
    #[arg(long)]
    pub(crate) create: bool,
    /// Return as soon as the mount answers and serve it in the background
    #[arg(long)]
    pub(crate) daemon: bool,
    /// Refuse every change
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Mount options, separated by commas
    #[arg(short = 'o', value_name = "OPTS")]
    pub(crate) options: Vec<OsString>,
    /// Directory of the store
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) store: PathBuf,
    /// An empty directory
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) mountpoint: PathBuf,
    #[command(flatten)]
    pub(crate) layout: Layout,
    #[command(flatten)]
    pub(crate) secrets: Secrets,
    /// Set by `--daemon` for the process that stays
    #[arg(long, hide = true)]
    pub(crate) daemon_process: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Umount {
    /// Where the store is mounted
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) mountpoint: PathBuf,
    /// Detach at once, even while files are open; their users keep them until they close them
    #[arg(long)]
    pub(crate) lazy: bool,
}

/// A path in a store.
fn object_path() -> impl TypedValueParser<Value = OsString> {
    OsStringValueParser::new().try_map(|path| {
        let mut parts = path.as_bytes().split(|&byte| byte == b'/');
        if parts.any(|part| part == b"..") {
            return Err("`..` is not allowed in a path");
        }
        Ok(path)
    })
}

#[derive(Debug, Args)]
pub(crate) struct Put {
    /// Directory of the store
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) store: PathBuf,
    /// Local file, or `-` for standard input
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) local: PathBuf,
    /// Path in the store; missing directories are made
    #[arg(value_parser = object_path())]
    pub(crate) path: OsString,
    #[command(flatten)]
    pub(crate) secrets: Secrets,
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// Only these bytes: positions of the first and the last, counted from 0; `FIRST-` to the end
    #[arg(long, value_name = "FIRST-LAST")]
    pub(crate) range: Option<crate::units::ByteRange>,
    /// Directory of the store
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) store: PathBuf,
    /// Path in the store
    #[arg(value_parser = object_path())]
    pub(crate) path: OsString,
    /// Local file, or `-` for standard output
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) local: PathBuf,
    #[command(flatten)]
    pub(crate) secrets: Secrets,
}

#[derive(Debug, Args)]
pub(crate) struct OnePath {
    /// Directory of the store
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) store: PathBuf,
    /// Path in the store
    #[arg(value_parser = object_path())]
    pub(crate) path: OsString,
    #[command(flatten)]
    pub(crate) secrets: Secrets,
}

#[derive(Debug, Args)]
pub(crate) struct OneStore {
    /// Directory of the store
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) store: PathBuf,
    #[command(flatten)]
    pub(crate) secrets: Secrets,
}

#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Also directories, with everything in them
    #[arg(long, short)]
    pub(crate) recursive: bool,
    #[command(flatten)]
    pub(crate) at: OnePath,
}

#[derive(Debug, Args)]
pub(crate) struct Stat {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: OnePath,
}

#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// One line per entry with mode, links, owner, length and time
    #[arg(long, short)]
    pub(crate) long: bool,
    /// Everything below, with paths
    #[arg(long, short = 'R')]
    pub(crate) recursive: bool,
    /// Print one JSON object per entry
    #[arg(long)]
    pub(crate) json: bool,
    /// Directory of the store
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) store: PathBuf,
    /// Path in the store
    #[arg(default_value = "/", value_parser = object_path())]
    pub(crate) path: OsString,
    #[command(flatten)]
    pub(crate) secrets: Secrets,
}

#[derive(Debug, Args)]
pub(crate) struct Info {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) at: OneStore,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// List the slots; needs no key
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Directory of the store
        #[arg(value_hint = ValueHint::DirPath)]
        store: PathBuf,
    },
    /// Add a passphrase or a key file
    Add(KeyAdd),
    /// Remove a slot; never the last one
    Remove(KeyRemove),
    /// Replace the passphrase or key file that opens the store now
    Change(KeyAdd),
}

#[derive(Debug, Args)]
pub(crate) struct KeyAdd {
    #[command(flatten)]
    pub(crate) at: OneStore,
    #[command(flatten)]
    pub(crate) new: NewSecrets,
    #[command(flatten)]
    pub(crate) kdf: Kdf,
}

#[derive(Debug, Args)]
pub(crate) struct KeyRemove {
    /// Number of the slot, as `key list` shows it [default: the one that opens the store now]
    #[arg(long, value_name = "NUMBER")]
    pub(crate) slot: Option<u8>,
    #[command(flatten)]
    pub(crate) at: OneStore,
}

#[derive(Debug, Args)]
pub(crate) struct Scrub {
    /// Write healed bytes back
    #[arg(long)]
    pub(crate) repair: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Directory of the store
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) store: PathBuf,
    #[command(flatten)]
    pub(crate) secrets: Secrets,
}
