//! Tasks run once, whoever takes them and whatever happens.

use super::*;
use std::sync::atomic::AtomicUsize;
use std::thread::sleep;

fn crew(threads: usize) -> Arc<Crew> {
    Crew::new(Arc::new(rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()))
}

/// How often each task of a loop runs.
fn runs(count: usize, min_tasks: usize) -> Vec<usize> {
    let runs: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
    for_each(count, min_tasks, |index| {
        runs[index].fetch_add(1, Ordering::Relaxed);
    });
    runs.into_iter().map(AtomicUsize::into_inner).collect()
}

#[test]
fn every_task_of_every_loop_runs_once() {
    for threads in [1, 2, 3, 8] {
        let crew = crew(threads);
        for round in 0..200 {
            crew.lead(|| {
                for (count, min_tasks) in [(0, 1), (1, 1), (2, 1), (7, 2), (64, 5), (1000, 1), (round, 3)] {
                    assert_eq!(runs(count, min_tasks), vec![1; count], "{threads} threads");
                }
            });
            if round % 50 == 0 {
                // Helpers go home.
                sleep(2 * LINGER);
            }
        }
    }
}

#[test]
fn helpers_help() {
    let crew = crew(2);
    let (leader, helped) = (std::thread::current().id(), AtomicBool::new(false));
    let since = Instant::now();
    while !helped.load(Ordering::Relaxed) {
        assert!(since.elapsed() < Duration::from_mins(1), "the helper never came");
        crew.lead(|| {
            for_each(2, 1, |_| {
                if std::thread::current().id() == leader {
                    sleep(Duration::from_millis(1));
                } else {
                    helped.store(true, Ordering::Relaxed);
                }
            });
        });
    }
}

#[test]
fn loops_inside_of_tasks_are_their_own() {
    crew(3).lead(|| for_each(20, 1, |_| assert_eq!(runs(30, 1), [1; 30])));
}

#[test]
fn whoever_finds_the_crew_led_runs_on_the_pool() {
    let crew = crew(2);
    crew.lead(|| {
        let is_on_the_pool = || rayon::current_thread_index().is_some() && runs(50, 1) == [1; 50];
        let other = std::thread::scope(|scope| scope.spawn(|| crew.lead(is_on_the_pool)).join());
        assert!(other.unwrap());
    });
}

#[test]
fn a_panic_reaches_the_leader_and_leaves_the_crew_whole() {
    let crew = crew(4);
    for bad in 0..40 {
        let run = || crew.lead(|| for_each(40, 1, |index| assert_ne!(index, bad, "task {bad}")));
        let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("a task panics");
        assert!(panic.downcast_ref::<String>().is_some_and(|text| text.contains("task")));
        crew.lead(|| assert_eq!(runs(100, 1), [1; 100]));
    }
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[test]
fn denormals_are_zero_inside_only() {
    let half = || std::hint::black_box(f32::MIN_POSITIVE) * std::hint::black_box(0.5);
    assert!(half() > 0.0);
    let inside = crew(1).lead(half);
    assert_eq!(inside.to_bits(), 0);
    assert!(half() > 0.0);
}

#[test]
fn chunks_cover_a_slice_once() {
    let mut numbers = vec![0; 25_003];
    crew(3).lead(|| {
        for_each_chunk(&mut numbers, 1000, 2, |index, chunk| chunk.iter_mut().for_each(|x| *x += index));
    });
    assert!(numbers.iter().enumerate().all(|(at, &index)| index == at / 1000));
}
