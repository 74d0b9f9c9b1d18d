//! How much holders may spend: budgets, what counts against them, and what happens near their limits.
//!
//! | file       | what it holds                                                                     |
//! |------------|-----------------------------------------------------------------------------------|
//! | `spec`     | a budget as configuration and API state it                                        |
//! | `calendar` | where a window begins and ends, in any time zone                                  |
//! | `account`  | what counts against one budget: posted, pending, what rolls over; what fits       |
//! | `accounts` | those of all holders, taken from together or not at all                           |
//! | `hold`     | what one request holds of them, until it is known what it cost                    |
//! | `queue`    | who waits for room, and whose turn it is                                          |
//! | `posting`  | what a record of the journal books, and on whom                                   |
//! | `ledger`   | what was spent, in rows that any window is a sum of, made from the journal         |
//! | `keeper`   | the `Budget` actor: follows the journal, posts, tells, raises                      |
//! | `forecast` | where a budget is bound for                                                       |
//! | `mark`     | what the journal says of budgets: steps that were told, budgets that were raised  |

mod account;
mod accounts;
mod calendar;
pub mod forecast;
mod hold;
pub mod keeper;
pub mod ledger;
mod mark;
mod posting;
mod queue;
mod spec;

pub use account::{Override, Short, Standing};
pub use accounts::{Accounts, Denied, Exceeded, InForce, Quote, Reached, Seed, Statement, Tightest};
pub use calendar::Window;
pub use hold::Hold;
pub use mark::{BudgetSays, HolderName, Mark, Notice};
pub use posting::{Booked, Posting};
pub use queue::Turn;
pub use spec::{Act, BudgetSpec, Period, Priority, Step, Table, Zone};

/// Millionths, the unit of shares: 1 000 000 are the whole.
pub const WHOLE_PPM: u32 = 1_000_000;
/// Spending is kept by quarters of an hour: every offset of a time zone in use is a multiple, so each window is a sum of them.
pub const QUARTER_S: i64 = 900;
