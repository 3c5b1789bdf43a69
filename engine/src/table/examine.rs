//! What a table says of itself, for whoever has lost the manifest that named it.
//!
//! - The file must be finished and whole as far as its footer, its meta block and its lineage go;
//!   data blocks are not looked at.
//! - Nobody vouches that the table was ever part of the store, only that the store wrote it.

use crate::block::{BlockHandle, BlockKind, Expect, read_block};
use crate::codec::Reader;
use crate::env::OpenMode;
use crate::error::{Error, Result};
use crate::file::{open_file, open_footer};
use crate::table::extra::Lineage;
use crate::table::index::decode_meta;
use crate::table::meta::TableMeta;
use crate::table::sink::TableOpener;
use crate::types::FileId;

impl TableOpener {
    /// Reads what the table `id` says of itself, and where it comes from, if it says so.
    pub(crate) fn examine(&self, id: FileId) -> Result<(TableMeta, Option<Lineage>)> {
        let (file, context) = open_file(&self.env, &*self.keys, id, self.store_id, OpenMode::Read)?;
        self.scratches.with(|scratch| {
            let footer = open_footer(&*file, &context, None, scratch)?;
            let handle = BlockHandle::decode(&mut Reader::new(&footer.payload))
                .map_err(|error| error.in_file(id).part("footer"))?;
            let mut read = |handle: &BlockHandle| {
                let expect = Expect::new(BlockKind::Meta, handle);
                read_block(&*file, &context, handle, &expect, scratch)
            };
            let block = read(&handle)?;
            let named = |error: Error| error.in_file(id).at(handle.offset).part("table meta");
            let (mut meta, _, sections) = decode_meta(&block).map_err(named)?;
            if meta.number != id.number {
                let error = Error::authentication("the table says that it is another one");
                return Err(named(error));
            }
            meta.root = footer.root;
            let lineage = match &sections.lineage {
                Some(handle) => Some(Lineage::decode(&read(handle)?).map_err(named)?),
                None => None,
            };
            Ok((meta, lineage))
        })
    }
}
