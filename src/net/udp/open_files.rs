//! How many files, sockets included, this process may have open. (Its one system call has no safe wrapper in the house.)

use std::io;

/// Raises the soft limit of open files (`RLIMIT_NOFILE`, `getrlimit(2)`) to the hard one; returns what it is then. The
/// soft one is low for the sake of programs that use `select(2)`: nothing here does.
pub fn raise_open_files() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit for the call to write to, and is not used by anyone else meanwhile.
    super::counted(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: `limit` is a valid rlimit for the call to read.
        super::counted(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })?;
    }
    Ok(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_once_and_for_all() {
        let raised = raise_open_files().unwrap();
        assert!(raised > 0);
        assert_eq!(raise_open_files().unwrap(), raised);
    }
}
