//! How much there is and how much is left.

use crate::attr::StatFs;
use crate::errno::FsResult;
use crate::filesystem::FileSystem;

const BLOCK_LEN: u32 = 4096;
/// Longest name in bytes.
pub(super) const NAME_LEN_MAX: usize = 255;

impl FileSystem {
    /// Space of the medium beneath, and inodes: those in use, and as many again as blocks are
    /// free (an empty file takes far less).
    ///
    /// # Errors
    /// Errors of the store.
    pub fn statfs(&self) -> FsResult<StatFs> {
        let space = self.volume.tree.space()?;
        let block_len = u64::from(BLOCK_LEN);
        let unwritten = self.volume.unwritten_len();
        let free_count = space.free_len.saturating_sub(unwritten) / block_len;
        let used = self.numbers.count(&self.volume.tree)?;
        Ok(StatFs {
            block_len: BLOCK_LEN,
            block_count: space.total_len / block_len,
            free_count,
            inode_count: used.saturating_add(free_count),
            free_inode_count: free_count,
            name_len_max: NAME_LEN_MAX as u32,
        })
    }
}
