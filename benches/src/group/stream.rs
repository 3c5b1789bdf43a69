//! Long files: written once with one fsync, read cold, read warm.

use super::{Bed, Sheet, megabytes_per_second};
use crate::data::Kind;
use crate::failure::Outcome;
use crate::step::Step;
use crate::subject::Session;

struct Names {
    kind: Kind,
    write: &'static str,
    cold: &'static str,
    warm: &'static str,
}

const FILES: [Names; 2] = [
    Names {
        kind: Kind::Text,
        write: "write-text",
        cold: "read-cold-text",
        warm: "read-warm-text",
    },
    Names {
        kind: Kind::Incompressible,
        write: "write-noise",
        cold: "read-cold-noise",
        warm: "read-warm-noise",
    },
];

pub(super) fn run(session: &mut Session<'_>, bed: &Bed<'_>, sheet: &mut Sheet) -> Outcome<()> {
    let len = bed.scale.stream_len;
    for Names {
        kind,
        write,
        cold,
        warm,
    } in FILES
    {
        if !bed.wants(&[write, cold, warm]) {
            continue;
        }
        let path = session.files().join(format!("{kind:?}"));
        session.settle()?;
        let done = session.step(&Step::Write {
            path: path.clone(),
            kind,
            len,
        })?;
        sheet.put(write, megabytes_per_second(len, done.seconds));
        if !bed.wants(&[cold, warm]) {
            continue;
        }
        session.cool()?;
        let read = Step::Read { path, kind, len };
        sheet.put(
            cold,
            megabytes_per_second(len, session.step(&read)?.seconds),
        );
        if bed.wants(&[warm]) {
            sheet.put(
                warm,
                megabytes_per_second(len, session.step(&read)?.seconds),
            );
        }
    }
    Ok(())
}
