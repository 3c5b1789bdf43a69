//! Long files: written once with one fsync, read cold, read warm; what the daemon computed for it,
//! and what the text takes.

use super::{Bed, Sheet, megabytes_per_second};
use crate::data::Kind;
use crate::failure::Outcome;
use crate::step::Step;
use crate::subject::Session;

/// The rows of one kind of bytes.
struct Names {
    kind: Kind,
    write: &'static str,
    write_cpu: &'static str,
    cold: &'static str,
    cold_cpu: &'static str,
    warm: &'static str,
    space: Option<&'static str>,
}

impl Names {
    fn all(&self) -> Vec<&'static str> {
        let space = self.space.into_iter();
        space
            .chain(self.reads())
            .chain([self.write, self.write_cpu])
            .collect()
    }

    fn reads(&self) -> [&'static str; 3] {
        [self.cold, self.cold_cpu, self.warm]
    }
}

const FILES: [Names; 2] = [
    Names {
        kind: Kind::Text,
        write: "write-text",
        write_cpu: "cpu-write-text",
        cold: "read-cold-text",
        cold_cpu: "cpu-read-text",
        warm: "read-warm-text",
        space: Some("space-text"),
    },
    Names {
        kind: Kind::Incompressible,
        write: "write-noise",
        write_cpu: "cpu-write-noise",
        cold: "read-cold-noise",
        cold_cpu: "cpu-read-noise",
        warm: "read-warm-noise",
        space: None,
    },
];

pub(super) fn run(session: &mut Session<'_>, bed: &Bed<'_>, sheet: &mut Sheet) -> Outcome<()> {
    for names in FILES {
        if bed.wants(&names.all()) {
            file(session, bed, &names, sheet)?;
        }
    }
    Ok(())
}

fn file(session: &mut Session<'_>, bed: &Bed<'_>, names: &Names, sheet: &mut Sheet) -> Outcome<()> {
    let (kind, len) = (names.kind, bed.scale.stream_len);
    let path = session.files().join(format!("{kind:?}"));
    session.settle()?;
    let write = Step::Write {
        path: path.clone(),
        kind,
        len,
    };
    stream(session, &write, len, (names.write, names.write_cpu), sheet)?;
    if !bed.wants(&names.reads()) && names.space.is_none() {
        return Ok(());
    }
    session.leave()?;
    if let (Some(row), Some(usage)) = (names.space, session.usage()?) {
        sheet.put(row, usage.allocated as f64 / len as f64);
    }
    if bed.wants(&names.reads()) {
        session.cool()?;
        let read = Step::Read { path, kind, len };
        stream(session, &read, len, (names.cold, names.cold_cpu), sheet)?;
        if bed.wants(&[names.warm]) {
            let seconds = session.step(&read)?.seconds;
            sheet.put(names.warm, megabytes_per_second(len, seconds));
        }
        return Ok(());
    }
    session.mount()
}

/// Times one step, by the clock and by what the daemon computed meanwhile.
fn stream(
    session: &Session<'_>,
    step: &Step,
    len: u64,
    (rate, cpu): (&'static str, &'static str),
    sheet: &mut Sheet,
) -> Outcome<()> {
    let before = session.cpu_seconds();
    let seconds = session.step(step)?.seconds;
    sheet.put(rate, megabytes_per_second(len, seconds));
    if let (Some(before), Some(after)) = (before, session.cpu_seconds()) {
        sheet.put(cpu, (after - before) / (len as f64 / 1e9));
    }
    Ok(())
}
