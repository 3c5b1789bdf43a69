//! Simulation: the engine on one seeded thread over a medium that loses power and has faults.
//!
//! - A workload of 200 operations runs once without faults, and the power is cut before every single
//!   change of the medium; then it runs again for every operation of the medium and every fault that
//!   can meet it, and the power is cut after that.
//! - What a recovery finds must be a state of history: not older than the last promise, not newer
//!   than the last call. Where the medium damaged bytes, an error that names the damage will do.
//! - A [`Case`] says all of it in one line, and replays it.

mod blobs;
mod machine;
mod model;
mod recovery;
mod store;
mod sweep;
mod workload;

use std::fmt;
use std::str::FromStr;

use crate::fault::Fault;

pub use sweep::{Plan, Tally, Totals, replay, sweep};

/// What goes wrong besides the power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Nothing.
    PowerCut,
    /// A bit turns on the disk while the power is gone.
    Rot,
    /// An operation answers with an error.
    Io,
    /// An operation finds the medium full.
    NoSpace,
    /// The medium stays full for a while.
    Full,
    /// An append writes a part, then fails.
    TornAppend,
    /// A read gives less than there is.
    ShortRead,
    /// A read gives a wrong bit.
    FlippedRead,
    /// A read gives bytes of another place.
    MisdirectedRead,
    /// A sync fails and loses what it should have kept; reads go on to show it.
    LostSync,
    /// A write reaches another place.
    MisdirectedWrite,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::PowerCut,
        Self::Rot,
        Self::Io,
        Self::NoSpace,
        Self::Full,
        Self::TornAppend,
        Self::ShortRead,
        Self::FlippedRead,
        Self::MisdirectedRead,
        Self::LostSync,
        Self::MisdirectedWrite,
    ];

    /// The fault that meets the operation with index `at`, and how many operations it may meet.
    fn fault(self, at: u64) -> Option<(Fault, u64)> {
        let fault = match self {
            Self::PowerCut | Self::Rot => return None,
            Self::Io => Fault::Io,
            Self::NoSpace => Fault::NoSpace,
            Self::Full => return Some((Fault::NoSpace, 40)),
            Self::TornAppend => Fault::TornAppend((at * 37 % 211) as usize),
            Self::ShortRead => Fault::ShortRead((at * 37 % 101) as usize),
            Self::FlippedRead => Fault::FlipBit((at * 7919) as usize),
            Self::MisdirectedRead => Fault::Misdirected(1 + at % 600),
            Self::LostSync => Fault::LostSync,
            Self::MisdirectedWrite => Fault::MisdirectedWrite(at),
        };
        Some((fault, 1))
    }

    /// Does it change bytes of the disk behind the back of the store?
    const fn is_damage(self) -> bool {
        matches!(self, Self::Rot | Self::MisdirectedWrite)
    }

    /// How many promises an opening may find broken, where the fault met it, and a write of
    /// `astray_len` bytes went astray before.
    ///
    /// Nothing vouches for the last synced group of a log: damage to it passes for a torn tail. A
    /// write that went astray may damage its own group and all that lie where it landed.
    const fn slack(self, meets_opening: bool, astray_len: usize) -> usize {
        match self {
            Self::FlippedRead | Self::MisdirectedRead if meets_opening => 1,
            Self::Rot => 1,
            Self::MisdirectedWrite if astray_len > 0 => 2 + astray_len / GROUP_LEN_MIN,
            _ => 0,
        }
    }
}

/// No record of a log takes less room on the disk.
const GROUP_LEN_MIN: usize = 100;

/// One simulated crash, as it is printed and replayed: `seed/stretch/kind/at/cut/state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// The workload.
    pub seed: u64,
    /// Which of its stretches between two openings.
    pub stretch: usize,
    /// What goes wrong.
    pub kind: Kind,
    /// The operation of the medium that it meets, counted from the start of the stretch.
    pub at: usize,
    /// Changes of the medium before the power goes.
    pub cut: usize,
    /// Which of the states that are possible then.
    pub state: u64,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            stretch,
            kind,
            at,
            cut,
            state,
        } = self;
        write!(f, "{seed}/{stretch}/{kind:?}/{at}/{cut}/{state}")
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let number = |index: usize| -> Result<u64, String> {
            let part = parts.get(index).ok_or("six parts are wanted")?;
            part.parse().map_err(|_| format!("{part} is no number"))
        };
        let kind = |name: &&str| Kind::ALL.into_iter().find(|k| format!("{k:?}") == **name);
        Ok(Self {
            seed: number(0)?,
            stretch: number(1)? as usize,
            kind: parts.get(2).and_then(kind).ok_or("no such kind")?,
            at: number(3)? as usize,
            cut: number(4)? as usize,
            state: number(5)?,
        })
    }
}

/// Something that should not be.
#[derive(Debug)]
pub struct Finding(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_one_line() {
        for kind in Kind::ALL {
            let (seed, stretch, at, cut, state) = (7, 2, 31, 55, 1);
            let case = Case {
                seed,
                stretch,
                kind,
                at,
                cut,
                state,
            };
            assert_eq!(case.to_string().parse(), Ok(case));
        }
        assert!("1/2/Nothing/3/4/5".parse::<Case>().is_err());
        assert!("1/2/Io/3".parse::<Case>().is_err());
    }
}
