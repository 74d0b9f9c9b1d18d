//! Whether a failure is a want of file descriptors: the gateway's own fault, not its upstream's.

use std::io;

use rustix::io::Errno;

/// Returns whether `error` is the limit of this process (EMFILE) or of the machine (ENFILE).
pub fn is_exhausted(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// Returns whether no file could be opened now. The system's resolver, which needs some, does not say so.
pub fn has_none_left() -> bool {
    std::fs::File::open("/dev/null").is_err_and(|error| is_exhausted(&error))
}
