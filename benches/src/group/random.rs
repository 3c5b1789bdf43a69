//! Blocks of 4 KiB at random places: read from a long file, overwritten in a shorter one.

use super::{Bed, Sheet};
use crate::data::Kind;
use crate::failure::Outcome;
use crate::step::{Step, Sync};
use crate::subject::Session;

const KIND: Kind = Kind::Incompressible;

pub(super) fn run(session: &mut Session<'_>, bed: &Bed<'_>, sheet: &mut Sheet) -> Outcome<()> {
    let scale = bed.scale;
    if bed.wants(&["random-read-cold", "random-read-warm"]) {
        let (path, len) = (session.files().join("long"), scale.stream_len);
        session.step(&Step::Write {
            path: path.clone(),
            kind: KIND,
            len,
        })?;
        session.cool()?;
        let count = scale.read_count;
        let random = |count| Step::RandomRead {
            path: path.clone(),
            kind: KIND,
            len,
            count,
        };
        sheet.operations("random-read-cold", count, &session.step(&random(count))?);
        if bed.wants(&["random-read-warm"]) {
            session.step(&Step::Read {
                path: path.clone(),
                kind: KIND,
                len,
            })?;
            // A hit of the page cache takes a microsecond: fewer of them would measure the first ones.
            let count = count * 4;
            let done = session.step(&random(count))?;
            sheet.operations("random-read-warm", count, &done);
        }
    }
    let writes = [
        ("random-write-fsync", Sync::Each),
        ("random-write-end", Sync::End),
    ];
    if bed.wants(&writes.map(|(row, _)| row)) {
        let (path, len) = (session.files().join("overwritten"), scale.overwrite_len);
        session.step(&Step::Write {
            path: path.clone(),
            kind: KIND,
            len,
        })?;
        for (row, sync) in writes.into_iter().filter(|(row, _)| bed.wants(&[row])) {
            session.settle()?;
            let count = match sync {
                Sync::Each => scale.write_count,
                Sync::End => scale.write_count * 4,
            };
            let step = Step::RandomWrite {
                path: path.clone(),
                len,
                count,
                sync,
            };
            sheet.operations(row, count, &session.step(&step)?);
        }
    }
    Ok(())
}
