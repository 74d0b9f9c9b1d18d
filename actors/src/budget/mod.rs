//! How much holders may spend: budgets, what counts against them, and what happens near their limits.
//!
//! | file       | what it holds                                                                     |
//! |------------|-----------------------------------------------------------------------------------|
//! | `spec`     | a budget as configuration and API state it                                        |
//! | `calendar` | where a window begins and ends, in any time zone                                  |

mod calendar;
mod spec;

pub use calendar::Window;
pub use spec::{Act, BudgetSpec, Period, Priority, Step, Table, Zone};

/// Millionths, the unit of shares: 1 000 000 are the whole.
pub const WHOLE_PPM: u32 = 1_000_000;
/// Spending is kept by quarters of an hour: every offset of a time zone in use is a multiple, so each window is a sum of them.
pub const QUARTER_S: i64 = 900;
