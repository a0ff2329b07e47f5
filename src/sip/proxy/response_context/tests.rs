use proptest::prelude::*;

use super::*;

/// A context over responses that are known by name.
fn started(is_invite: bool, targets: usize) -> ResponseContext<&'static str> {
    let mut context = ResponseContext::new(is_invite, targets, &[503]);
    context.start();
    context
}

fn verdicts<R>(context: &mut ResponseContext<R>) -> Vec<Verdict<R>> {
    std::iter::from_fn(|| context.poll()).collect()
}

fn best(name: &'static str) -> Verdict<&'static str> {
    Verdict::Final(Final::Response { best: name, others: vec![] })
}

#[test]
fn rfc3261_16_7_provisional_responses_but_100_and_then_the_2xx_go_back_at_once() {
    let mut context = started(true, 1);
    context.on_response(0, 100, "100");
    context.on_response(0, 180, "180");
    context.on_response(0, 183, "183 of another fork");
    context.on_response(0, 200, "200");
    context.on_response(0, 180, "late 180");
    context.on_response(0, 200, "200 again");
    context.on_response(0, 200, "200 of another fork");
    assert_eq!(
        verdicts(&mut context),
        [
            Verdict::Try(0),
            Verdict::Forward("180"),
            Verdict::Forward("183 of another fork"),
            Verdict::Forward("200"),
            Verdict::Forward("200 again"),
            Verdict::Forward("200 of another fork"),
        ]
    );
    assert!(context.is_final());
}

#[test]
fn a_503_and_a_time_out_move_on_to_the_next_target_and_486_does_not() {
    let mut context = started(true, 4);
    context.on_response(0, 503, "503");
    context.on_timeout(1);
    context.on_send_failed(2);
    context.on_response(3, 486, "486");
    let tries = (0..4).map(Verdict::Try);
    assert_eq!(verdicts(&mut context), tries.chain([best("486")]).collect::<Vec<_>>());

    let mut context = started(true, 2);
    context.on_response(0, 486, "486");
    assert_eq!(verdicts(&mut context), [Verdict::Try(0), best("486")]);
}

#[test]
fn a_target_that_gives_no_sign_is_given_up_and_its_late_2xx_still_goes_back() {
    let mut context = started(true, 2);
    context.on_no_answer(0);
    assert_eq!(verdicts(&mut context), [Verdict::Try(0), Verdict::Cancel(0), Verdict::Try(1)]);
    context.on_response(0, 180, "late 180");
    context.on_response(1, 180, "180");
    context.on_no_answer(1);
    context.on_response(0, 200, "late 200");
    context.on_response(1, 487, "487");
    assert_eq!(
        verdicts(&mut context),
        [Verdict::Forward("180"), Verdict::Forward("late 200"), Verdict::Cancel(1)]
    );
}

#[test]
fn nobody_there_ends_in_408_or_503() {
    let mut context = started(true, 2);
    context.on_no_answer(0);
    context.on_no_answer(1);
    assert_eq!(verdicts(&mut context).last(), Some(&Verdict::Final(Final::Status(408))));
    context.on_timeout(0);
    assert_eq!(verdicts(&mut context), []);

    let mut context = started(true, 2);
    context.on_send_failed(0);
    context.on_send_failed(1);
    assert_eq!(verdicts(&mut context).last(), Some(&Verdict::Final(Final::Status(503))));

    assert_eq!(verdicts(&mut started(true, 0)), [Verdict::Final(Final::Status(503))]);
}

#[test]
fn rfc3261_16_10_cancel_goes_to_what_is_pending_and_no_further_target_is_tried() {
    let mut context = started(true, 2);
    context.on_response(0, 180, "180");
    context.cancel();
    context.cancel();
    context.on_response(0, 487, "487");
    assert_eq!(
        verdicts(&mut context),
        [Verdict::Try(0), Verdict::Forward("180"), Verdict::Cancel(0), best("487")]
    );
    // The 200 that crosses the CANCEL wins.
    let mut context = started(true, 1);
    context.cancel();
    context.on_response(0, 200, "200");
    assert_eq!(verdicts(&mut context), [Verdict::Try(0), Verdict::Cancel(0), Verdict::Forward("200")]);
    // No final response after the CANCEL.
    let mut context = started(true, 2);
    context.cancel();
    context.on_timeout(0);
    assert_eq!(verdicts(&mut context).last(), Some(&Verdict::Final(Final::Status(487))));
}

#[test]
fn rfc3261_16_7_step_6_and_7_best_response_and_all_challenges() {
    let best_of = |responses: &[(u16, &'static str)]| {
        let mut context: ResponseContext<&'static str> =
            ResponseContext::new(true, responses.len(), &[300, 401, 404, 407, 484, 500, 503]);
        context.start();
        for (target, (status, name)) in responses.iter().enumerate() {
            context.on_response(target, *status, *name);
        }
        verdicts(&mut context).pop()
    };
    assert_eq!(best_of(&[(503, "503"), (404, "404"), (500, "500")]), Some(best("404")));
    assert_eq!(best_of(&[(404, "404"), (484, "484")]), Some(best("484")));
    assert_eq!(best_of(&[(404, "404"), (300, "300")]), Some(best("300")));
    assert_eq!(best_of(&[(404, "404"), (603, "603"), (404, "never")]), Some(best("603")));
    assert_eq!(
        best_of(&[(407, "407"), (404, "404"), (401, "401")]),
        Some(Verdict::Final(Final::Response { best: "407", others: vec!["401"] }))
    );
}

#[test]
fn rfc3261_16_7_step_5_a_6xx_cancels_the_rest() {
    let mut context = started(true, 3);
    context.on_no_answer(0);
    context.on_response(1, 603, "603");
    assert_eq!(verdicts(&mut context).last(), Some(&best("603")));
    assert_eq!(context.branches.len(), 2);
}

proptest! {
    /// Whatever comes: at most one final response; after a 2xx none; after it nothing but 2xx of an INVITE; each target
    /// at most once and in order; and once every target has ended, a final response has gone back.
    #[test]
    fn one_final_response_and_only_2xx_after_it(
        is_invite: bool,
        targets in 0usize..4,
        events in prop::collection::vec((0usize..4, 0usize..9), 0..40),
    ) {
        let mut context = ResponseContext::new(is_invite, targets, &[503]);
        context.start();
        for (target, what) in events {
            match what {
                0 => context.on_response(target, 100, 100),
                1 => context.on_response(target, 180, 180),
                2 => context.on_response(target, 200, 200),
                3 => context.on_response(target, 486, 486),
                4 => context.on_response(target, 503, 503),
                5 => context.on_response(target, 603, 603),
                6 => context.on_timeout(target),
                7 => context.on_no_answer(target),
                _ => context.cancel(),
            }
        }
        for target in 0..targets {
            context.on_timeout(target);
        }
        prop_assert!(context.is_final());
        let (mut is_final, mut next) = (false, 0);
        for verdict in verdicts(&mut context) {
            match verdict {
                Verdict::Try(target) => {
                    prop_assert!(!is_final && target == next);
                    next += 1;
                }
                Verdict::Forward(200) => {
                    prop_assert!(is_invite || !is_final);
                    is_final = true;
                }
                Verdict::Forward(_) => prop_assert!(!is_final),
                Verdict::Cancel(target) => prop_assert!(target < next),
                Verdict::Final(_) => {
                    prop_assert!(!is_final);
                    is_final = true;
                }
            }
        }
    }
}
