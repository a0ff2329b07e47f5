//! What the node keeps for itself: its key and its self-signed certificates, readable by nobody else.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::base::NodeKey;
use crate::media::dtls::Certificate;

/// Makes the folder (and those above it) for our eyes only, unless it is there.
pub(super) fn make(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Writes a file that only we may read; whoever reads it meanwhile sees the old one or the new one.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut new = begin_private(path)?;
    new.write_all(bytes)?;
    put_in_place(&new, path)
}

/// An empty file that only we may read, which [`put_in_place`] makes the one at `path`.
pub(super) fn begin_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(new(path))
}

/// See [`begin_private`].
pub(super) fn put_in_place(new_file: &File, path: &Path) -> io::Result<()> {
    new_file.sync_all()?;
    fs::rename(new(path), path)
}

fn new(path: &Path) -> PathBuf {
    path.with_extension("new")
}

/// The node's key, made on first start: with it, tokens minted before a restart are still ours after it.
pub fn node_key(data_dir: &Path) -> io::Result<NodeKey> {
    let file = data_dir.join("node.key");
    match fs::read(&file) {
        Ok(bytes) => match <[u8; 16]>::try_from(bytes.as_slice()) {
            Ok(key) => Ok(NodeKey::new(key)),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "{} is damaged (it must hold 16 bytes): remove it, and a new one is made",
                    file.display()
                ),
            )),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(data_dir)?;
            let mut key = [0; 16];
            rand::Rng::fill_bytes(&mut rand::make_rng::<rand::rngs::StdRng>(), &mut key);
            write_private(&file, &key)?;
            Ok(NodeKey::new(key))
        }
        Err(error) => Err(error),
    }
}

/// What media over DTLS is shown, made on first start: a call that outlasts a restart has said its fingerprint.
pub(super) fn media_certificate(data_dir: &Path) -> io::Result<Certificate> {
    let file = data_dir.join("media.pem");
    let pem = match fs::read_to_string(&file) {
        Ok(pem) => pem,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let pem = Certificate::make().map_err(io::Error::other)?;
            make(data_dir)?;
            write_private(&file, pem.as_bytes())?;
            pem
        }
        Err(error) => return Err(error),
    };
    Certificate::read(&pem).map_err(|error| {
        let damaged = format!("{} is damaged ({error}): remove it, and a new one is made", file.display());
        io::Error::new(io::ErrorKind::InvalidData, damaged)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("data");
        let mac = |key: NodeKey| key.mac("branch", &[b"x"]);
        assert_eq!(mac(node_key(&folder).unwrap()), mac(node_key(&folder).unwrap()));
        fs::write(folder.join("node.key"), "short").unwrap();
        assert_eq!(node_key(&folder).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn the_certificate_for_media_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("data");
        let first = media_certificate(&folder).unwrap();
        assert_eq!(media_certificate(&folder).unwrap().fingerprint(), first.fingerprint());
        fs::write(folder.join("media.pem"), "-----BEGIN CERTIFICATE-----").unwrap();
        let damaged = media_certificate(&folder).unwrap_err();
        assert_eq!(damaged.kind(), io::ErrorKind::InvalidData);
        assert!(damaged.to_string().contains("remove it"), "{damaged}");
    }
}
