//! Numbers of a mount. Nothing here changes the format of the store.

/// Whether reading moves the access time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Atime {
    /// Only when it is older than the last change, or a day old.
    #[default]
    Relative,
    /// Never.
    Never,
}

/// Numbers of one mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MountOptions {
    /// Refuse every change with `EROFS`.
    pub read_only: bool,
    /// Whether reading moves the access time.
    pub atime: Atime,
    /// Unwritten file content held in memory at most, in bytes.
    pub dirty_len_max: usize,
    /// Unwritten file content is written out when it is this old.
    pub dirty_age_ms_max: u64,
    /// Decoded chunks held in memory at most, in bytes.
    pub chunk_cache_len: usize,
    /// Inodes held in memory beyond those that are open or unwritten.
    pub inode_cache_count: usize,
    /// Threads that seal and prefetch chunks; 0 does all work on the calling thread.
    pub worker_count: usize,
    /// Owner of the root directory of a new file system.
    pub root_uid: u32,
    /// Group of the root directory of a new file system.
    pub root_gid: u32,
    /// Permission bits of the root directory of a new file system.
    pub root_mode: u32,
}

impl Default for MountOptions {
    fn default() -> Self {
        Self {
            read_only: false,
            atime: Atime::Relative,
            dirty_len_max: 64 << 20,
            dirty_age_ms_max: 5_000,
            chunk_cache_len: 64 << 20,
            inode_cache_count: 1 << 16,
            worker_count: std::thread::available_parallelism().map_or(1, usize::from),
            root_uid: 0,
            root_gid: 0,
            root_mode: 0o755,
        }
    }
}
