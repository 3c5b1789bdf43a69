//! Where passphrases and keys come from: the terminal, a file, an open file descriptor.
//!
//! - Never from the command line or the environment: both can be read by others.
//! - Every copy is wiped when it is dropped.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::RawFd;
use std::path::Path;

use coffer_blobstore::Credential;
use rustix::io::Errno;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use zeroize::{Zeroize, Zeroizing};

use crate::args::{NewSecrets, Secrets};
use crate::failure::{Code, Failure, Outcome};

/// Longer files are no passphrase and no key.
const SECRET_LEN_MAX: usize = 1 << 20;

/// One of the places, other than the terminal, that a secret can come from.
enum Source<'a> {
    PassphraseFile(&'a Path),
    PassphraseFd(u32),
    KeyFile(&'a Path),
}

impl Secrets {
    /// The credential of a store that is there already.
    pub(crate) fn credential(&self, store: &Path) -> Outcome<Credential> {
        match self.source() {
            Some(source) => source.read(),
            None => {
                let prompt = format!("Passphrase for {}: ", store.display());
                Ok(Credential::Passphrase(ask(&prompt, "--passphrase-file")?))
            }
        }
    }

    /// The credential of a store that is about to be made: asked for twice on a terminal.
    pub(crate) fn new_credential(&self, store: &Path) -> Outcome<Credential> {
        match self.source() {
            Some(source) => source.read(),
            None => ask_twice(store, "--passphrase-file"),
        }
    }

    fn source(&self) -> Option<Source<'_>> {
        source(
            self.passphrase_file.as_deref(),
            self.passphrase_fd,
            self.key_file.as_deref(),
        )
    }

    /// Was a source named, so that nobody has to be asked?
    pub(crate) fn is_given(&self) -> bool {
        self.source().is_some()
    }
}

impl NewSecrets {
    /// The credential that is to be added.
    pub(crate) fn credential(&self, store: &Path) -> Outcome<Credential> {
        match source(
            self.new_passphrase_file.as_deref(),
            self.new_passphrase_fd,
            self.new_key_file.as_deref(),
        ) {
            Some(source) => source.read(),
            None => ask_twice(store, "--new-passphrase-file"),
        }
    }
}

/// Where the options say that the secret is; nowhere: on the terminal.
fn source<'a>(
    passphrase_file: Option<&'a Path>,
    passphrase_fd: Option<u32>,
    key_file: Option<&'a Path>,
) -> Option<Source<'a>> {
    passphrase_file
        .map(Source::PassphraseFile)
        .or(passphrase_fd.map(Source::PassphraseFd))
        .or(key_file.map(Source::KeyFile))
}

impl Source<'_> {
    fn read(&self) -> Outcome<Credential> {
        match *self {
            Self::PassphraseFile(path) => {
                let file = open(path)?;
                let line = first_line(file, &path.display().to_string())?;
                Ok(Credential::Passphrase(line))
            }
            Self::PassphraseFd(fd) => {
                let name = format!("file descriptor {fd}");
                let line = if fd == 0 {
                    first_line(io::stdin().lock(), &name)
                } else {
                    let closed = |error| Failure::io(&name, &error).into_usage();
                    let file = descriptor(fd).map_err(closed)?;
                    first_line(file, &name)
                };
                Ok(Credential::Passphrase(line?))
            }
            Self::KeyFile(path) => {
                let key = read_all(open(path)?, &path.display().to_string())?;
                if key.is_empty() {
                    return Err(empty(&path.display().to_string()));
                }
                Ok(Credential::KeyFile(key))
            }
        }
    }
}

/// An open descriptor of this process, its position shared: a second secret follows the first.
fn descriptor(fd: u32) -> io::Result<File> {
    let raw = RawFd::try_from(fd).map_err(|_| Errno::BADF)?;
    let process = pidfd_open(getpid(), PidfdFlags::empty())
        .and_then(|own| pidfd_getfd(own, raw, PidfdGetfdFlags::empty()));
    match process {
        Ok(copy) => Ok(File::from(copy)),
        // Forbidden to processes in some containers.
        Err(Errno::PERM | Errno::NOSYS) => File::open(format!("/proc/self/fd/{fd}")),
        Err(errno) => Err(errno.into()),
    }
}

fn open(path: &Path) -> Outcome<File> {
    if path.is_dir() {
        let text = format!("{} is a directory: that is no secret", path.display());
        return Err(Failure::new(Code::Usage, text));
    }
    File::open(path).map_err(|error| Failure::path(path, &error))
}

/// Reads byte by byte, so that what follows on the same descriptor stays for the next reader.
fn first_line(mut file: impl Read, name: &str) -> Outcome<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(256));
    let mut byte = Zeroizing::new([0; 1]);
    loop {
        match file.read(byte.as_mut()) {
            Ok(0) => break,
            Ok(_) if byte[0] == b'\n' => break,
            Ok(_) if line.len() == SECRET_LEN_MAX => return Err(too_long(name)),
            Ok(_) => push(&mut line, byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::io(name, &error)),
        }
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    if line.is_empty() {
        return Err(empty(name));
    }
    Ok(line)
}

/// Grows without leaving a copy behind.
fn push(line: &mut Zeroizing<Vec<u8>>, byte: u8) {
    if line.len() == line.capacity() {
        let mut larger = Zeroizing::new(Vec::with_capacity(2 * line.capacity()));
        larger.extend_from_slice(line);
        *line = larger;
    }
    line.push(byte);
}

fn read_all(mut file: File, name: &str) -> Outcome<Zeroizing<Vec<u8>>> {
    let mut buf = Zeroizing::new(vec![0; SECRET_LEN_MAX + 1]);
    let mut len = 0;
    while len < buf.len() {
        match file.read(&mut buf[len..]) {
            Ok(0) => {
                let mut key = Zeroizing::new(Vec::with_capacity(len));
                key.extend_from_slice(&buf[..len]);
                return Ok(key);
            }
            Ok(count) => len += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::io(name, &error)),
        }
    }
    Err(too_long(name))
}

fn empty(name: &str) -> Failure {
    Failure::new(Code::Usage, format!("{name} is empty: that is no secret"))
}

fn too_long(name: &str) -> Failure {
    Failure::new(
        Code::Usage,
        format!("{name} is longer than 1 MiB: that is no secret"),
    )
}

fn ask(prompt: &str, option: &str) -> Outcome<Zeroizing<Vec<u8>>> {
    let text = rpassword::prompt_password(prompt).map_err(|error| {
        Failure::new(
            Code::Usage,
            format!("cannot ask for the passphrase: no terminal ({error})"),
        )
        .hint(format!(
            "use `{option} FILE`, or the descriptor or key file option"
        ))
    })?;
    let bytes = Zeroizing::new(text.into_bytes());
    if bytes.is_empty() {
        return Err(empty("the passphrase"));
    }
    Ok(bytes)
}

fn ask_twice(store: &Path, option: &str) -> Outcome<Credential> {
    let first = ask(&format!("New passphrase for {}: ", store.display()), option)?;
    let mut second = ask("The same again: ", option)?;
    let same = *first == *second;
    second.zeroize();
    if same {
        Ok(Credential::Passphrase(first))
    } else {
        Err(Failure::new(
            Code::Usage,
            "the two passphrases differ; nothing was changed",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, memfd_create};
    use std::io::{Seek, Write};
    use std::os::fd::AsRawFd;

    fn line(bytes: &[u8]) -> Result<Vec<u8>, Code> {
        first_line(bytes, "test")
            .map(|line| line.to_vec())
            .map_err(|failure| failure.code)
    }

    #[test]
    fn only_the_first_line_counts() {
        assert_eq!(line(b"secret\nsecond"), Ok(b"secret".to_vec()));
        assert_eq!(line(b" secret \r\n"), Ok(b" secret ".to_vec()));
        assert_eq!(line(b"no newline"), Ok(b"no newline".to_vec()));
        assert_eq!(line(&[b'x'; 5000]), Ok(vec![b'x'; 5000]));
    }

    #[test]
    fn a_descriptor_is_read_where_it_stands() {
        let memory = memfd_create("secrets", MemfdFlags::empty());
        let mut file = File::from(memory.expect("a file"));
        file.write_all(b"one\ntwo\n").expect("written");
        file.rewind().expect("rewound");
        let source = Source::PassphraseFd(file.as_raw_fd().try_into().expect("open"));
        for expected in ["one", "two"] {
            let Ok(Credential::Passphrase(line)) = source.read() else {
                unreachable!("a passphrase");
            };
            assert_eq!(*line, expected.as_bytes());
        }
        assert_eq!(
            source.read().map_err(|error| error.code).err(),
            Some(Code::Usage)
        );
        let closed = Source::PassphraseFd(u32::MAX).read();
        assert_eq!(closed.map_err(|error| error.code).err(), Some(Code::Usage));
        let directory = Source::PassphraseFile(Path::new("/")).read();
        assert_eq!(
            directory.map_err(|error| error.code).err(),
            Some(Code::Usage)
        );
    }

    #[test]
    fn an_empty_secret_is_refused() {
        assert_eq!(line(b""), Err(Code::Usage));
        assert_eq!(line(b"\n"), Err(Code::Usage));
        assert_eq!(line(&vec![b'x'; SECRET_LEN_MAX + 1]), Err(Code::Usage));
    }

    #[test]
    fn the_rest_of_a_stream_stays_for_the_next_reader() {
        let mut stream: &[u8] = b"one\ntwo\n";
        assert_eq!(
            first_line(&mut stream, "test")
                .map(|line| line.to_vec())
                .ok(),
            Some(b"one".to_vec())
        );
        assert_eq!(stream, b"two\n");
    }
}
