//! One file per command or pair of commands.

use std::process::ExitCode;

use clap::CommandFactory;

use crate::args::{Command, CommandLine};
use crate::failure::Outcome;

mod compact;
mod info;
mod init;
mod key;
mod list;
mod mount;
mod objects;
mod scrub;
mod umount;

/// Does what the command line asks for.
pub(crate) fn run(line: CommandLine) -> Outcome<ExitCode> {
    let quiet = line.quiet;
    let done = match line.command {
        Command::Init(args) => init::init(&args, quiet),
        Command::Mount(args) => return mount::mount(&args, quiet),
        Command::Umount(args) => umount::umount(&args, quiet),
        Command::Put(args) => objects::put(&args, quiet),
        Command::Get(args) => objects::get(&args, quiet),
        Command::Cat(args) => objects::cat(&args),
        Command::Rm(args) => objects::rm(&args),
        Command::Stat(args) => list::stat(&args),
        Command::Ls(args) => list::ls(&args),
        Command::Info(args) => info::info(&args),
        Command::Key { command } => key::key(&command, quiet),
        Command::Scrub(args) => return scrub::scrub(&args, quiet),
        Command::Compact(args) => compact::compact(&args, quiet),
        Command::Completions { shell } => completions(shell),
    };
    done.map(|()| ExitCode::SUCCESS)
}

fn completions(shell: clap_complete::Shell) -> Outcome {
    let mut results = crate::terminal::Results::new();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut CommandLine::command(), "coffer", &mut script);
    std::io::Write::write_all(&mut results, &script)
        .map_err(|error| crate::failure::Failure::output(&error))?;
    results.finish()
}
