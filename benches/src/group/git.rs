//! git: a clone over its own protocol into the subject, then a cold status of the clone.

use super::{Bed, Sheet, command};
use crate::failure::{Failure, Outcome};
use crate::sources::git_environment;
use crate::step::{Run, Step};
use crate::subject::Session;

pub(super) fn run(session: &mut Session<'_>, bed: &Bed<'_>, sheet: &mut Sheet) -> Outcome<()> {
    let sources = bed
        .sources
        .ok_or_else(|| Failure::new("no repository was made"))?;
    let origin = format!("file://{}", sources.repository.display());
    let files = session.files().to_path_buf();
    let git = |argv: &[&str]| {
        Step::Run(Run {
            env: git_environment(bed.scratch),
            ..command(&files, argv)
        })
    };
    session.settle()?;
    let done = session.step(&git(&["git", "clone", "-q", &origin, "clone"]))?;
    sheet.put("git-clone", done.seconds);
    if !bed.wants(&["git-status-cold"]) {
        return Ok(());
    }
    session.cool()?;
    let done = session.step(&git(&["git", "-C", "clone", "status", "--porcelain"]))?;
    sheet.put("git-status-cold", done.seconds);
    if done.line_count == 0 {
        return Ok(());
    }
    Err(Failure::new(format!(
        "git status sees changes in a fresh clone: {}",
        done.head.trim()
    )))
}
