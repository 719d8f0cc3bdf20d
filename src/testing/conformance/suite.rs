//! The promises by name, and the macro that makes a test of each.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use super::fixture::Fixture;
use super::nodes::Setup;
use super::{bytes, dropped, folding, leases, marks, polls, versions};

/// What a check may take, besides what it waits for a late store.
const LIMIT: Duration = Duration::from_secs(60);

/// `store_conformance!(name, fixture)`: a module `name` with one test for each promise of a store.
///
/// `fixture` is the path of an `async fn(max_marks: usize) -> Fixture`: each call makes an empty namespace of its own,
/// whose ledger keeps so many marks apart. See [`conformance`](crate::testing::conformance).
///
/// The macro stands where items stand, not in a function.
#[macro_export]
#[doc(hidden)]
macro_rules! __store_conformance {
    ($name:ident, $fixture:path $(,)?) => {
        mod $name {
            #[allow(unused_imports, reason = "a path may begin at the crate")]
            use super::*;
            $crate::__store_conformance!(@promises @tests $fixture);
        }
    };
    (@promises $($to:tt)*) => {
        $crate::__store_conformance! { $($to)* ;
            bytes::what_was_never_put_is_not_there
            bytes::entries_come_back_byte_for_byte
            bytes::entries_that_are_too_large_are_refused
            bytes::keys_stay_apart
            bytes::entries_vanish_after_keep
            bytes::many_are_put_in_their_order
            versions::the_newest_of_an_epoch_stays
            versions::another_epoch_replaces
            versions::the_newest_of_concurrent_puts_stays
            versions::removing_spares_what_is_newer
            versions::versions_are_told_in_order
            marks::an_empty_ledger_begins_with_fresh
            marks::an_invalidation_begins_an_empty_ledger
            marks::stamps_ascend_and_follow_the_time
            marks::marks_of_one_call_have_one_stamp
            marks::marks_of_all_kinds_come_back
            marks::a_mark_twice_in_a_call_is_one
            marks::the_profile_is_constant
            polls::changes_are_what_is_new
            polls::a_mark_made_again_is_new_again
            polls::without_a_cursor_all_marks_are_told
            polls::a_cursor_of_another_epoch_gets_all_marks
            polls::a_reader_ahead_renews_the_epoch
            polls::no_concurrent_mark_is_lost
            polls::many_marks_arrive_complete
            polls::a_hint_does_no_harm
            folding::folding_covers_what_it_forgets
            folding::folding_covers_more_marks_than_fit
            folding::folding_of_one_verb_spares_the_other
            dropped::a_dropped_put_can_be_repeated
            dropped::a_dropped_invalidation_can_be_repeated
            dropped::a_dropped_poll_can_be_repeated
            leases::a_lease_is_granted_once
            leases::a_lease_ends_with_its_ttl
            leases::a_note_is_for_those_who_wait
            leases::a_stranger_releases_nothing
            leases::a_note_ends
            leases::a_note_ends_when_the_lease_is_taken
        }
    };
    (@tests $fixture:path ; $($part:ident :: $promise:ident)*) => {
        $(
            #[test]
            fn $promise() {
                $crate::testing::conformance::check(stringify!($promise), $fixture);
            }
        )*
    };
    (@table ; $($part:ident :: $promise:ident)*) => {
        &[$((stringify!($promise), |setup| Box::pin($part::$promise(setup)))),*]
    };
}

type Check = fn(Setup) -> Pin<Box<dyn Future<Output = ()>>>;

const TABLE: &[(&str, Check)] = crate::__store_conformance!(@promises @table);

/// The names of all promises, which are the names of the macro's tests.
pub fn promises() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}

/// Checks one promise, in a runtime of its own: for those who do not use the macro.
///
/// # Panics
///
/// When the promise is not kept, when it takes longer than a minute, or when there is none of that name.
pub fn check<F, R>(promise: &str, fixture: F)
where
    F: Fn(usize) -> R + 'static,
    R: Future<Output = Fixture> + 'static,
{
    let Some((_, check)) = TABLE.iter().find(|(name, _)| *name == promise) else {
        panic!("there is no promise {promise:?}");
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let setup = Setup::new(Rc::new(move |max_marks| Box::pin(fixture(max_marks))));
    let late = setup.late();
    let checked = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let limit = async {
                tokio::time::sleep(LIMIT).await;
                // Known once the first fixture is there.
                tokio::time::sleep(late.get() * 10).await;
            };
            let mut check = check(setup);
            let mut limit = std::pin::pin!(limit);
            std::future::poll_fn(|context| {
                if check.as_mut().poll(context).is_ready() {
                    return std::task::Poll::Ready(());
                }
                assert!(limit.as_mut().poll(context).is_pending(), "{promise}: no end after {LIMIT:?}");
                std::task::Poll::Pending
            })
            .await;
        });
    }));
    // A call that hangs on a thread of its own does not hang the test.
    runtime.shutdown_timeout(Duration::from_secs(5));
    if let Err(panic) = checked {
        resume_unwind(panic);
    }
}
