//! Locks and atomics: those of the operating system with `std`, spinning locks without.
//!
//! - A panic does not poison a lock: what a lock guards is valid at every point that can panic.
//! - With `--cfg coffer_spin` they spin anyway: the thread sanitizer sees those, and not those of `std`.
//! - With the feature `shuttle` they are those of a simulated scheduler, which chooses who goes on
//!   at each of them. There a wait never times out: who is not woken is stuck, and found.
//! - This file and `env/os` are the only ones that may name `std`.

#![allow(
    unreachable_pub,
    dead_code,
    reason = "one of two arms with the same face"
)]

#[cfg(all(feature = "std", not(feature = "shuttle")))]
extern crate std as threads;

#[cfg(feature = "shuttle")]
use shuttle as threads;

#[cfg(all(feature = "std", not(coffer_spin)))]
mod arm {
    use super::threads::sync as threads;
    use core::time::Duration;
    use threads::PoisonError;
    pub use threads::{MutexGuard, RwLockReadGuard, RwLockWriteGuard, atomic};

    /// Mutual exclusion.
    #[derive(Debug, Default)]
    pub struct Mutex<T>(threads::Mutex<T>);

    impl<T> Mutex<T> {
        /// A new lock around `value`.
        pub const fn new(value: T) -> Self {
            Self(threads::Mutex::new(value))
        }
        /// Waits for the lock.
        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// Many readers or one writer.
    #[derive(Debug, Default)]
    pub struct RwLock<T>(threads::RwLock<T>);

    impl<T> RwLock<T> {
        /// A new lock around `value`.
        pub const fn new(value: T) -> Self {
            Self(threads::RwLock::new(value))
        }
        /// Waits for shared access.
        pub fn read(&self) -> RwLockReadGuard<'_, T> {
            self.0.read().unwrap_or_else(PoisonError::into_inner)
        }
        /// Waits for sole access.
        pub fn write(&self) -> RwLockWriteGuard<'_, T> {
            self.0.write().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// Lets threads wait for a change of what a [`Mutex`] guards.
    #[derive(Debug, Default)]
    pub struct Condvar(threads::Condvar);

    impl Condvar {
        /// A new condition.
        #[must_use]
        pub const fn new() -> Self {
            Self(threads::Condvar::new())
        }
        /// Gives the lock back, waits for a notification, takes the lock again.
        pub fn wait<'a, T>(
            &self,
            _mutex: &'a Mutex<T>,
            guard: MutexGuard<'a, T>,
        ) -> MutexGuard<'a, T> {
            self.0.wait(guard).unwrap_or_else(PoisonError::into_inner)
        }
        /// As [`Condvar::wait`], for `timeout` at most.
        pub fn wait_timeout<'a, T>(
            &self,
            _mutex: &'a Mutex<T>,
            guard: MutexGuard<'a, T>,
            timeout: Duration,
        ) -> MutexGuard<'a, T> {
            self.0
                .wait_timeout(guard, timeout)
                .unwrap_or_else(PoisonError::into_inner)
                .0
        }
        /// Wakes one waiter.
        pub fn notify_one(&self) {
            self.0.notify_one();
        }
        /// Wakes all waiters.
        pub fn notify_all(&self) {
            self.0.notify_all();
        }
    }
}

#[cfg(any(not(feature = "std"), coffer_spin))]
mod arm {
    pub use core::sync::atomic;
    use core::time::Duration;
    pub use spin::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};

    /// Mutual exclusion.
    #[derive(Debug, Default)]
    pub struct Mutex<T>(spin::Mutex<T>);

    impl<T> Mutex<T> {
        /// A new lock around `value`.
        pub const fn new(value: T) -> Self {
            Self(spin::Mutex::new(value))
        }
        /// Spins for the lock.
        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock()
        }
    }

    /// Many readers or one writer.
    #[derive(Debug, Default)]
    pub struct RwLock<T>(spin::RwLock<T>);

    impl<T> RwLock<T> {
        /// A new lock around `value`.
        pub const fn new(value: T) -> Self {
            Self(spin::RwLock::new(value))
        }
        /// Spins for shared access.
        pub fn read(&self) -> RwLockReadGuard<'_, T> {
            self.0.read()
        }
        /// Spins for sole access.
        pub fn write(&self) -> RwLockWriteGuard<'_, T> {
            self.0.write()
        }
    }

    /// Without threads there is nobody to wait for: a wait gives the lock back once and returns.
    #[derive(Debug, Default)]
    pub struct Condvar;

    impl Condvar {
        /// A new condition.
        #[must_use]
        pub const fn new() -> Self {
            Self
        }
        /// Gives the lock back once and takes it again.
        pub fn wait<'a, T>(
            &self,
            mutex: &'a Mutex<T>,
            guard: MutexGuard<'a, T>,
        ) -> MutexGuard<'a, T> {
            drop(guard);
            core::hint::spin_loop();
            mutex.lock()
        }
        /// As [`Condvar::wait`].
        pub fn wait_timeout<'a, T>(
            &self,
            mutex: &'a Mutex<T>,
            guard: MutexGuard<'a, T>,
            _timeout: Duration,
        ) -> MutexGuard<'a, T> {
            self.wait(mutex, guard)
        }
        /// Nobody waits.
        pub fn notify_one(&self) {}
        /// Nobody waits.
        pub fn notify_all(&self) {}
    }
}

pub use arm::*;
