//! The `bursar` program.

use std::process::ExitCode;

// Many short-lived buffers on several threads, which the system's allocator hands back slowly.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    bursar::cli::run()
}
