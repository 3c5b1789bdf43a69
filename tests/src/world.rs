//! A seeded world: clock, randomness and events for a store on a simulated medium, no threads.
//!
//! - The same seed and the same calls give the same store, byte for byte.
//! - Without threads nothing happens behind the back of a test.

use coffer_engine::Result;
use coffer_engine::env::{Clock, Entropy, Env, Event, Fs, Listener, Spawner, Task};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::random::Rng;

/// The parts of an environment that are not the medium.
pub struct World {
    rng: Mutex<Rng>,
    now_ms: Mutex<u64>,
    events: Mutex<Vec<Event>>,
}

impl World {
    /// A world for this seed.
    #[must_use]
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            rng: Mutex::new(Rng::new(seed)),
            now_ms: Mutex::new(1_700_000_000_000),
            events: Mutex::default(),
        })
    }

    /// An environment of this world over `fs`.
    #[must_use]
    pub fn env(self: &Arc<Self>, fs: Arc<dyn Fs>) -> Env {
        Env {
            fs,
            clock: self.clone(),
            entropy: self.clone(),
            spawner: self.clone(),
            listener: self.clone(),
        }
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        *self.now_ms.lock().unwrap() += by.as_millis() as u64;
    }

    /// All events so far.
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }
}

/// Each look at the clock lets a millisecond pass.
impl Clock for World {
    fn now(&self) -> Duration {
        let mut now = self.now_ms.lock().unwrap();
        *now += 1;
        Duration::from_millis(*now)
    }

    fn monotonic(&self) -> Duration {
        self.now()
    }
}

impl Entropy for World {
    fn fill(&self, buf: &mut [u8]) -> Result<()> {
        self.rng.lock().unwrap().fill(buf);
        Ok(())
    }
}

impl Spawner for World {
    fn spawn(&self, _name: &'static str, _work: Box<dyn FnOnce() + Send>) -> Option<Box<dyn Task>> {
        None
    }

    fn parallelism(&self) -> usize {
        1
    }
}

impl Listener for World {
    fn event(&self, event: &Event) {
        self.events.lock().unwrap().push(event.clone());
    }
}
