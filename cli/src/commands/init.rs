//! `init`, and the choices of a new store.

use coffer_blobstore::{KdfCost, StoreOptions};
use coffer_engine::{Compression, Ecc};

use crate::args::{CompressionChoice, EccChoice, Init, Kdf, Layout};
use crate::failure::{Code, Failure, Outcome};
use crate::store;
use crate::terminal::note;

/// What `--ecc reed-solomon` means.
const REED_SOLOMON: Ecc = Ecc::ReedSolomon { data: 8, parity: 2 };

pub(crate) fn init(args: &Init, quiet: bool) -> Outcome {
    let options = store_options(&args.layout)?;
    if !store::is_free(&args.store)? {
        let text = format!("{} is not empty", args.store.display());
        let hint = if store::env(&args.store).is_ok() {
            "it holds a store already"
        } else {
            "a store needs a directory of its own"
        };
        return Err(Failure::new(Code::Exists, text).hint(hint));
    }
    let credential = args.secrets.new_credential(&args.store)?;
    let tree = store::create(&args.store, &credential, options)?;
    // An empty file system, so that reading commands find one.
    coffer_fusefs::FileSystem::open(tree, store::mount_options(false))?.close()?;
    if !quiet {
        let store = args.store.display();
        note(format_args!(
            "made {store}; `coffer mount {store} MOUNTPOINT` makes it a directory"
        ));
        note("there is no way back in without the passphrase or key: keep a copy in a safe place");
    }
    Ok(())
}

/// The choices as the store takes them.
pub(crate) fn store_options(layout: &Layout) -> Outcome<StoreOptions> {
    let mut options = StoreOptions::default();
    match layout.ecc {
        None => {}
        Some(EccChoice::None) => options.transform.ecc = Ecc::None,
        Some(EccChoice::Secded) => options.transform.ecc = Ecc::SecDed,
        Some(EccChoice::Xor) => options.transform.ecc = Ecc::DEFAULT_STORE,
        Some(EccChoice::ReedSolomon) => options.transform.ecc = REED_SOLOMON,
    }
    match (layout.compression, layout.level) {
        (Some(CompressionChoice::None), Some(_)) => {
            return Err(Failure::new(
                Code::Usage,
                "`--level` makes no sense with `--compression none`",
            ));
        }
        (Some(CompressionChoice::None), None) => {
            options.transform.compression = Compression::None;
        }
        (_, Some(level)) => options.transform.compression = Compression::Zstd { level },
        _ => {}
    }
    options.kdf = kdf_cost(&layout.kdf)?;
    Ok(options)
}

/// The cost of the key derivation as the keyring takes it.
pub(crate) fn kdf_cost(kdf: &Kdf) -> Outcome<KdfCost> {
    let mut cost = KdfCost::default();
    if let Some(len) = kdf.kdf_memory {
        cost.memory_kib = u32::try_from(len >> 10).unwrap_or(u32::MAX);
    }
    cost.passes = kdf.kdf_passes.unwrap_or(cost.passes);
    cost.lanes = kdf.kdf_lanes.unwrap_or(cost.lanes);
    cost.validate()?;
    Ok(cost)
}
