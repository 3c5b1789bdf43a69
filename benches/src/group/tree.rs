//! Ten thousand small files: unpacked, weighed, listed, searched, removed.

use super::{Bed, Sheet, command, timed};
use crate::failure::{Failure, Outcome};
use crate::step::{Run, Step};
use crate::subject::Session;

/// A word that some of the files hold.
const PATTERN: &str = "deprecated";

pub(super) fn run(session: &mut Session<'_>, bed: &Bed<'_>, sheet: &mut Sheet) -> Outcome<()> {
    let sources = bed
        .sources
        .ok_or_else(|| Failure::new("no source text was gathered"))?;
    let archive = sources.archive.display().to_string();
    let files = session.files().to_path_buf();
    let here = |argv: &[&str]| command(&files, argv);
    // The archive is in the page cache, what others wrote is not in the way.
    session.step(&Step::Run(command(bed.scratch, &["cksum", &archive])))?;
    session.settle()?;
    let unpacked = session.step(&Step::Run(here(&["tar", "-xf", &archive])))?;
    sheet.put("untar", unpacked.seconds);
    let left = session.leave()?;
    sheet.put("untar-durable", unpacked.seconds + left);
    if let Some(usage) = session.usage()? {
        sheet.put("space-disk", usage.allocated as f64);
        sheet.put("space-len", usage.len as f64);
    }
    session.mount()?;

    let grep = Run {
        accept: vec![1],
        ..here(&["grep", "-rF", PATTERN, "src"])
    };
    let cold = [
        ("find-cold", here(&["find", "src"])),
        ("du-cold", here(&["du", "-s", "src"])),
        ("ls-cold", here(&["ls", "-lR", "src"])),
        ("grep-cold", grep.clone()),
    ];
    for (row, run) in cold {
        if bed.wants(&[row]) {
            session.cool()?;
            timed(row, session, run, sheet)?;
        }
    }
    for (row, run) in [
        ("ls-warm", here(&["ls", "-lR", "src"])),
        ("grep-warm", grep),
    ] {
        if bed.wants(&[row]) {
            session.step(&Step::Run(run.clone()))?;
            timed(row, session, run, sheet)?;
        }
    }
    if bed.wants(&["rm"]) {
        session.settle()?;
        timed("rm", session, here(&["rm", "-rf", "src"]), sheet)?;
        let left = session.step(&Step::Run(here(&["ls", "-A"])))?;
        if left.line_count != 0 {
            return Err(Failure::new(format!(
                "rm -rf left {} behind",
                left.head.trim()
            )));
        }
    }
    Ok(())
}
