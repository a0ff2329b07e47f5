//! The same weather, and the edge is killed in the middle of it, with all that it had not written down yet: a call that stands in
//! the journal goes on, ends once and is billed once.

use std::collections::HashSet;

use super::super::restart::{Journal, read};
use super::*;

/// What a node does every so often (see `net::kept`).
const CHANGED: Duration = Duration::from_secs(1);
const ENDED: Duration = Duration::from_millis(100);

/// What outlasts the edge, and what is known of those who did not.
struct Crashes {
    calls: Journal,
    bindings: BTreeMap<u64, String>,
    /// When changes, and ends, are written next.
    write_at: [Instant; 2],
    /// The first one last. The last one is put off until a call has just ended.
    crash_at: Vec<Instant>,
    /// Calls that were answered, a step ago.
    answered: usize,
    /// Call-IDs that were in the journal when the edge was killed.
    known: HashSet<String>,
    /// Were not, or the caller had not heard of the answer.
    lost: HashSet<String>,
    /// Were over, which was not written yet.
    come_back: HashSet<String>,
}

impl Crashes {
    fn new(storm: &mut Storm) -> Crashes {
        let now = storm.world.now.instant;
        let mut crash_at =
            [(); 2].map(|()| now + Duration::from_millis(storm.rng.random_range(5_000..60_000)));
        crash_at.sort_unstable_by_key(|at| std::cmp::Reverse(*at));
        Crashes {
            calls: Journal::new(),
            bindings: BTreeMap::new(),
            write_at: [now; 2],
            crash_at: crash_at.into(),
            answered: 0,
            known: HashSet::new(),
            lost: HashSet::new(),
            come_back: HashSet::new(),
        }
    }

    fn after_step(&mut self, storm: &mut Storm) {
        let now = storm.world.now.instant;
        let answered = storm.world.status().answered_calls;
        let just_ended = answered < std::mem::replace(&mut self.answered, answered);
        if (self.crash_at.len() > 1 || just_ended) && self.crash_at.pop_if(|at| *at <= now).is_some() {
            return self.crash(storm);
        }
        let [changed, ended] = &mut self.write_at;
        if *ended <= now {
            *ended = now + ENDED;
            for key in storm.world.edge.ended_calls() {
                assert!(self.calls.remove(&key).is_some(), "what was not written down is not taken out");
            }
        }
        if *changed <= now {
            *changed = now + CHANGED;
            for key in storm.world.edge.changed_calls() {
                let saved = storm.world.edge.save_call(key);
                self.calls.extend(saved.map(|saved| (key, serde_json::to_string(&saved).unwrap())));
            }
        }
    }

    fn crash(&mut self, storm: &mut Storm) {
        let ended: HashSet<u64> = storm.world.edge.ended_calls().into_iter().collect();
        let (over, live): (Vec<_>, Vec<_>) = self.calls.iter().partition(|(key, _)| ended.contains(key));
        let live: HashSet<String> = live.into_iter().map(|(_, saved)| call_id(saved)).collect();
        self.come_back.extend(over.into_iter().map(|(_, saved)| call_id(saved)));
        for agent in &storm.agents {
            let in_call = agent.legs.keys().chain(agent.ringing.keys()).filter(|id| !live.contains(*id));
            self.lost.extend(in_call.chain(agent.calling.keys()).cloned());
        }
        self.known.extend(live);
        for (key, binding) in storm.world.edge.save_registrations() {
            self.bindings.extend(binding.map(|binding| (key, serde_json::to_string(&binding).unwrap())));
        }

        let before = std::mem::replace(&mut storm.world, world(storm.serial));
        let later = &mut storm.world;
        (later.now, later.events, later.mail) = (before.now, before.events, before.mail);
        let binding = |(key, saved): (&u64, &String)| (*key, serde_json::from_str(saved).unwrap());
        later.edge.restore_registrations(self.bindings.iter().map(binding), later.now);
        let restored = later.edge.restore_calls(read(&self.calls), later.now);
        later.collect();
        assert_eq!((restored.live, restored.ended, restored.silent), (self.calls.len(), 0, 0));
        // Longer than anything is on its way: what comes meanwhile finds nobody.
        storm.deaf_until =
            storm.world.now.instant + Duration::from_millis(storm.rng.random_range(400..3_000));
    }
}

fn call_id(saved: &str) -> String {
    let saved: serde_json::Value = serde_json::from_str(saved).unwrap();
    saved["call_id"].as_str().unwrap().to_owned()
}

/// How many calls went on after a crash.
fn crash(seed: u64) -> usize {
    let mut storm = Storm::new(seed);
    let mut crashes = Crashes::new(&mut storm);
    storm.run(|storm| crashes.after_step(storm));
    let Crashes { known, lost, come_back, .. } = crashes;
    let in_call = storm.agents.iter().flat_map(|agent| agent.legs.keys()).filter(|id| !lost.contains(*id));
    assert_eq!(in_call.collect::<Vec<_>>(), [""; 0], "seed {seed}: still in a call");
    let left = storm.world.status().answered_calls;
    assert!(left <= come_back.len(), "seed {seed}: the edge holds a call that nobody is in");
    // What came back ends by its silence, or by its lifetime if nobody was to speak.
    storm.world.fall_silent();
    storm.world.pass(Duration::from_secs(13 * 3_600));
    storm.world.assert_clean();

    let mut records: HashMap<&str, usize> = HashMap::new();
    for cdr in storm.world.cdrs() {
        *records.entry(&cdr.call_id).or_default() += 1;
    }
    for id in known.iter().filter(|id| !lost.contains(*id) && !come_back.contains(*id)) {
        assert_eq!(records.get(&**id), Some(&1), "seed {seed}: {id} was in the journal");
    }
    let twice =
        |(id, records): &(&&str, &usize)| **records > 1 && !lost.contains(**id) && !come_back.contains(**id);
    assert_eq!(records.iter().find(twice), None, "seed {seed}: billed twice");
    all_places_are_free(storm, seed);
    known.len()
}

/// Each carrier takes as many calls as it ever did.
fn all_places_are_free(mut storm: Storm, seed: u64) {
    let pbx = Actor::pbx();
    for _ in 0..=2 * CALLS {
        storm.world.send(&pbx, request(&pbx, "INVITE", "sip:+49301234@10.20.0.5", "200", "", ""));
    }
    let mut taken = [CARRIER, CARRIER + 1].map(|carrier| {
        let came = storm.world.take(&storm.agents[carrier].actor);
        came.iter().filter(|text| text.starts_with("INVITE")).count()
    });
    taken.sort_unstable();
    assert_eq!(taken, [CALLS, CALLS], "seed {seed}");
}

#[test]
fn no_call_of_the_journal_is_lost_or_billed_twice() {
    let went_on: usize = (200..220).map(crash).sum();
    assert!(went_on > 20, "{went_on} calls went on");
}
