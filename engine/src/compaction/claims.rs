//! Which compactions run, and what may begin beside them: a pure decision.
//!
//! - No two compactions share an input, and no two write overlapping key ranges into one level.
//! - Whoever wants the store for itself gets it once nothing runs; until then nothing new begins.

use alloc::vec::Vec;

use crate::compaction::plan::Plan;

/// The compactions that run.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    running: Vec<Claim>,
    next_id: u64,
    /// How many wait for the whole store.
    waiting_count: usize,
    is_whole: bool,
}

#[derive(Debug)]
struct Claim {
    id: u64,
    inputs: Vec<u64>,
    output_level: usize,
    smallest: Vec<u8>,
    largest: Vec<u8>,
}

impl Claims {
    /// Is the table an input of a running compaction?
    pub(crate) fn is_claimed(&self, table: u64) -> bool {
        self.running
            .iter()
            .any(|claim| claim.inputs.contains(&table))
    }

    /// May anything begin at all?
    pub(crate) const fn is_open(&self) -> bool {
        !self.is_whole && self.waiting_count == 0
    }

    /// How many compactions run.
    pub(crate) const fn len(&self) -> usize {
        self.running.len()
    }

    /// May `plan` run beside all that runs?
    pub(super) fn allows(&self, plan: &Plan) -> bool {
        let Some((smallest, largest)) = plan.hull() else {
            return false;
        };
        let is_free = |number| !self.is_claimed(number);
        plan.inputs().all(|(_, table)| is_free(table.meta().number))
            && self.running.iter().all(|claim| {
                claim.output_level != plan.output_level
                    || claim.output_level == 0
                    || *claim.largest < *smallest
                    || *largest < *claim.smallest
            })
    }

    /// Takes the inputs and the output range of `plan` until they are released.
    pub(crate) fn claim(&mut self, plan: &Plan) -> u64 {
        let (smallest, largest) = plan.hull().unwrap_or_default();
        self.next_id += 1;
        self.running.push(Claim {
            id: self.next_id,
            inputs: plan.inputs().map(|(_, t)| t.meta().number).collect(),
            output_level: plan.output_level,
            smallest: smallest.to_vec(),
            largest: largest.to_vec(),
        });
        self.next_id
    }

    /// Takes an output range without inputs, if nothing that runs overlaps it.
    pub(crate) fn claim_output(
        &mut self,
        output_level: usize,
        smallest: &[u8],
        largest: &[u8],
    ) -> Option<u64> {
        let is_apart = |claim: &Claim| *claim.largest < *smallest || *largest < *claim.smallest;
        if !self.is_open() || !self.running.iter().all(is_apart) {
            return None;
        }
        self.next_id += 1;
        self.running.push(Claim {
            id: self.next_id,
            inputs: Vec::new(),
            output_level,
            smallest: smallest.to_vec(),
            largest: largest.to_vec(),
        });
        Some(self.next_id)
    }

    /// Gives back what [`Claims::claim`] took.
    pub(crate) fn release(&mut self, id: u64) {
        self.running.retain(|claim| claim.id != id);
    }

    /// Nothing new begins until this many have had the store for themselves.
    pub(crate) const fn wait_for_whole(&mut self) {
        self.waiting_count += 1;
    }

    /// Takes the whole store, if nothing runs. REQUIRES: `wait_for_whole` before.
    pub(crate) fn claim_whole(&mut self) -> bool {
        if self.is_whole || !self.running.is_empty() {
            return false;
        }
        self.waiting_count -= 1;
        self.is_whole = true;
        true
    }

    /// Gives the whole store back.
    pub(crate) const fn release_whole(&mut self) {
        self.is_whole = false;
    }
}
