//! The files of RFC 4475.

use super::torture::Fate::{self, Dropped, Forwarded, Refused};
use super::torture::{folder, send};

/// What becomes of each; the RFC's section stands beside the message of our own that does the same.
const FATES: &[(&str, Fate)] = &[
    ("badaspec", Refused(400)),
    ("badbranch", Forwarded),
    ("baddate", Forwarded),
    ("baddn", Refused(400)),
    ("badinv01", Refused(400)),
    ("badvers", Refused(505)),
    ("bcast", Dropped),
    ("bext01", Refused(420)),
    ("bigcode", Dropped),
    ("clerr", Refused(400)),
    ("cparam01", Forwarded),
    ("cparam02", Forwarded),
    ("dblreq", Forwarded),
    ("esc01", Forwarded),
    ("esc02", Forwarded),
    ("escnull", Forwarded),
    ("escruri", Forwarded),
    ("insuf", Refused(400)),
    ("intmeth", Forwarded),
    ("inv2543", Forwarded),
    ("invut", Forwarded),
    ("longreq", Forwarded),
    ("ltgtruri", Refused(400)),
    ("lwsdisp", Forwarded),
    ("lwsruri", Refused(400)),
    ("lwsstart", Refused(400)),
    ("mcl01", Refused(400)),
    ("mismatch01", Refused(400)),
    ("mismatch02", Refused(400)),
    ("mpart01", Forwarded),
    ("multi01", Refused(400)),
    ("ncl", Refused(400)),
    ("noreason", Dropped),
    ("novelsc", Refused(416)),
    ("quotbal", Refused(400)),
    ("regaut01", Forwarded),
    ("regbadct", Forwarded),
    ("regescrt", Forwarded),
    ("scalar02", Refused(400)),
    ("scalarlg", Dropped),
    ("sdp01", Forwarded),
    ("semiuri", Forwarded),
    // No message, and in no section: a template of the archive's.
    ("test", Dropped),
    ("transports", Forwarded),
    ("trws", Refused(400)),
    ("unkscm", Refused(416)),
    ("unksm2", Forwarded),
    // A response that nobody asked for.
    ("unreason", Dropped),
    // It has a tag in To: a dialog that never began here.
    ("wsinv", Refused(481)),
    ("zeromf", Refused(483)),
];

#[test]
fn each_file_has_its_fate() {
    let Some(folder) = folder("rfc4475") else { return };
    let read = |name: &str| std::fs::read(folder.join(name).with_extension("dat")).expect(name);
    let fates: Vec<_> = FATES.iter().map(|(name, _)| (*name, send(read(name)).fate)).collect();
    assert_eq!(fates, FATES);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), FATES.len(), "files that are not in the table");
}
