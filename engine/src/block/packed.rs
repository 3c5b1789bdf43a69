//! Blocks that move to another file, compressed as they are.

use alloc::vec::Vec;
use core::ops::Range;

use crate::block::context::{FileContext, Sealed};
use crate::block::handle::Expect;
use crate::error::Result;

impl FileContext {
    /// Verifies, heals and decrypts in place, and leaves the body as it was compressed: where it is
    /// in `disk`. For blocks that move to another file, by [`FileContext::seal_packed`].
    ///
    /// # Errors
    /// Those of [`FileContext::open`].
    pub fn open_packed(&self, expect: &Expect<'_>, disk: &mut [u8]) -> Result<Range<usize>> {
        self.open_body(expect, disk).map(|(_, body, _)| body)
    }

    /// Seals `body` as [`FileContext::open_packed`] left it: `expect` says what it was.
    ///
    /// # Errors
    /// Those of [`FileContext::seal`].
    pub fn seal_packed(
        &self,
        expect: &Expect<'_>,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Sealed> {
        self.check_ordinal(expect.ordinal)?;
        self.seal_body(expect, body, out)
    }
}
