/* The protocol of one run with four steps, for spin.
 *
 *        A --(fired by A's agent, or left out and fired by the coordinator)--> B --\
 *        A --(always fired by the coordinator)-------------------------------> C ---> D (join)
 *
 * B and C may fail once and are retried by a timer; C has a deadline; the run may be cancelled. Two agent processes
 * and two coordinators; who owns what is generation % 2, and a rebalance may come at any moment, in particular between
 * a decision and its commit. The log of events is one partition. What a coordinator knows is read anew from what is
 * committed before each decision (takeover and restore); what it decides becomes true with its commit.
 *
 * What is a guard in DESIGN can be removed with -DWITHOUT=n (see test_model.py): each must then give a counter-example.
 * Sizes: -DREBALANCES=n, -DNO_STOPPING (neither deadline nor cancellation), -DFAILING=B (C never fails).
 */

#ifndef WITHOUT
#define WITHOUT 0
#endif
#define NO_FENCE      1   /* R3: a transaction without position or generation: a zombie commits */
#define NO_FIRED      2   /* the coordinator fires what `fired` says was fired already */
#define NO_ATOMICITY  3   /* outputs first, position later */
#define FOLD_MARKERS  4   /* a marker is folded when it is written, not when it is read back */
#define NO_STATE      5   /* a marker fact counts whatever state its step is in (R10) */
#define STALE_STATE   6   /* a coordinator that owns again goes on with what it had in memory (R12) */
#define SETTLE_EARLY  7   /* a stopping run settles without waiting for its attempts */
#define MEMORY_TIMERS 8   /* timers are not rebuilt from the state after a takeover */

#if WITHOUT == NO_FENCE
#define VALID(mine, now) (true)
#else
#define VALID(mine, now) (mine == now)
#endif

#if WITHOUT == MEMORY_TIMERS
#define KNOWN_B (m_heap)
#else
#define KNOWN_B (true)
#endif

#ifndef REBALANCES
#define REBALANCES 2
#endif
#ifndef FAILING
#define FAILING C                   /* the last step that may fail: B alone makes fewer states */
#endif
#define ATTEMPTS 2
#define LOG 24

#define A 0
#define B 1
#define C 2
#define T(s, a) ((s) * 2 + (a) - 1)

/* facts */
#define OK_A_FIRED 1
#define OK_A       2
#define OK_B       3
#define OK_C       4
#define FAIL_B     5
#define FAIL_C     6
#define CANCELLED_B 7
#define CANCELLED_C 8
/* marker facts */
#define DUE_B      9
#define DUE_C      10
#define DEADLINE_C 11
#define CANCEL     12

/* states of B and C */
#define PENDING   0
#define SCHEDULED 1
#define WAITING   2   /* for its retry */
#define DONE      3
#define DEAD      4
#define JUDGED    5   /* its deadline has passed, an attempt has not reported yet */

byte trig[6];                       /* committed triggers by step and attempt */
byte trig_d;                        /* committed triggers of the join */
byte taken[3];                      /* committed: attempts answered, by step (the position in its inbox) */
byte ok[3];                         /* committed successes */
byte ev[LOG]; byte evn;             /* the log of events */
byte gen_agents, gen_coordinators;  /* group generations */
byte rebalances;
bit cancelled;                      /* somebody has asked, once */

/* what coordinators commit together */
byte folded;                        /* position in the log */
bit c_a, c_stop, c_fired_d, c_settled;
byte c_b, c_c;
byte c_deadline_at;                 /* 1 + where the deadline stands that was accepted */

/* What an owner has in memory and forgets with its generation: which markers it wrote, which timers it knows. */
bit m_due_b, m_due_c, m_deadline, m_heap;

/* For "reach the state" alone: they would only multiply the states of the other checks. */
#ifdef REACH
bit seen_late, seen_retry, seen_left_out, seen_zombie;
#define SEEN(flag, fact) flag = (flag || (fact))
#else
#define SEEN(flag, fact) skip
#endif

inline emit(x) { assert(evn < LOG); ev[evn] = x; evn++ }

#define HAS(s, most) (taken[s] < most && trig[T(s, taken[s] + 1)] > 0)

proctype Agent(byte me) {
    byte g, s, a;
end:
    do
    :: atomic {
         gen_agents % 2 == me && (HAS(A, 1) || HAS(B, ATTEMPTS) || HAS(C, ATTEMPTS)) ->
         if
         :: HAS(A, 1) -> s = A
         :: HAS(B, ATTEMPTS) -> s = B
         :: HAS(C, ATTEMPTS) -> s = C
         fi;
         g = gen_agents; a = taken[s] + 1
       }
       /* the handler runs here: anything may happen before the commit */
       if
       :: atomic { VALID(g, gen_agents) ->
            assert(!c_settled);
            ok[s]++; assert(ok[s] <= 1);
            if
            :: s == A -> trig[T(B, 1)]++; assert(trig[T(B, 1)] == 1); emit(OK_A_FIRED)
            :: s == A -> emit(OK_A); SEEN(seen_left_out, 1)     /* control said so, or it could not tell */
            :: s == B -> emit(OK_B); SEEN(seen_retry, a == 2)
            :: s == C -> emit(OK_C)
            fi;
#if WITHOUT != NO_ATOMICITY
            taken[s] = a;
#endif
          }
#if WITHOUT == NO_ATOMICITY
          if
          :: atomic { g == gen_agents -> taken[s] = a }
          :: atomic { g != gen_agents -> skip }
          fi
#endif
       :: atomic { VALID(g, gen_agents) && s != A && s <= FAILING && a < ATTEMPTS -> emit(FAIL_B + s - B); taken[s] = a }
       :: atomic { VALID(g, gen_agents) && s != A && c_stop -> assert(!c_settled); emit(CANCELLED_B + s - B); taken[s] = a }
       :: atomic { g != gen_agents -> SEEN(seen_zombie, 1) }
       fi;
       s = 0; a = 0; g = 0
    od
}

/* One fact folded into the copy; what follows is in out_b, out_c (attempts to trigger), out_d. */
inline fold(x) {
    if
    :: x == OK_A_FIRED || x == OK_A ->
         k_a = 1;
         if
         :: x == OK_A_FIRED -> k_b = SCHEDULED
#if WITHOUT == NO_FIRED
            ; out_b = 1
#endif
         :: x == OK_A && !k_stop -> k_b = SCHEDULED; out_b = 1
         :: else
         fi;
         if :: !k_stop -> k_c = SCHEDULED; out_c = 1 :: else fi
    :: x == OK_B && (k_b == SCHEDULED || k_b == WAITING) -> k_b = DONE
    :: x == OK_C ->
         /* no deadline is accepted over a success that stands before it in the log */
         assert(k_deadline_at == 0 || k_deadline_at - 1 < o);
         if
         :: k_c == SCHEDULED || k_c == WAITING -> k_c = DONE
         :: k_c == JUDGED -> k_c = DEAD; SEEN(seen_late, 1)
         :: else
         fi
    :: x == FAIL_B && k_b == SCHEDULED -> k_b = (k_stop -> DEAD : WAITING)
    :: x == FAIL_C -> k_c = (k_c == SCHEDULED && !k_stop -> WAITING : DEAD)
    :: x == CANCELLED_B -> k_b = DEAD
    :: x == CANCELLED_C -> k_c = DEAD
#if WITHOUT == NO_STATE
    :: x == DUE_B -> k_b = SCHEDULED; out_b = 2
    :: x == DUE_C -> k_c = SCHEDULED; out_c = 2
#else
    :: x == DUE_B && k_b == WAITING && !k_stop -> k_b = SCHEDULED; out_b = 2
    :: x == DUE_C && k_c == WAITING && !k_stop -> k_c = SCHEDULED; out_c = 2
#endif
    :: x == DEADLINE_C && k_c == SCHEDULED -> k_c = JUDGED; k_stop = 1; k_deadline_at = o + 1
    :: x == DEADLINE_C && k_c == WAITING -> k_c = DEAD; k_stop = 1; k_deadline_at = o + 1
    :: x == CANCEL && !k_fired_d -> k_stop = 1
    :: else
    fi;
    if
    :: k_b == DONE && k_c == DONE && !k_fired_d && !k_stop -> k_fired_d = 1; out_d = 1
    :: else
    fi;
    if
#if WITHOUT == SETTLE_EARLY
    :: k_stop -> k_settled = 1
#else
    :: k_stop && k_a && k_b != SCHEDULED && k_c != SCHEDULED && k_c != JUDGED -> k_settled = 1
#endif
    :: else
    fi
}

inline load() {
    k_a = c_a; k_b = c_b; k_c = c_c; k_stop = c_stop; k_fired_d = c_fired_d; k_settled = c_settled;
    k_deadline_at = c_deadline_at; o = folded; out_b = 0; out_c = 0; out_d = 0
}

inline store() {
    c_a = k_a; c_b = k_b; c_c = k_c; c_stop = k_stop; c_fired_d = k_fired_d; c_settled = k_settled;
    c_deadline_at = k_deadline_at;
    if :: out_b > 0 -> trig[T(B, out_b)]++; assert(trig[T(B, out_b)] == 1) :: else fi;
    if :: out_c > 0 -> trig[T(C, out_c)]++; assert(trig[T(C, out_c)] == 1) :: else fi;
    if :: out_d -> trig_d++; assert(trig_d == 1 && ok[B] == 1 && ok[C] == 1) :: else fi
}

inline forget() {
#if WITHOUT != STALE_STATE
    k_a = 0; k_b = 0; k_c = 0; k_stop = 0; k_fired_d = 0; k_settled = 0; k_deadline_at = 0; o = 0;
#endif
    out_b = 0; out_c = 0; out_d = 0; x = 0; g = 0
}

/* A marker is written once by each owner: the next one cannot know, and may write it again. */
inline mark(m, fact) {
    if
    :: atomic { VALID(g, gen_coordinators) ->
#if WITHOUT == FOLD_MARKERS
         load(); o = evn; fold(fact); store();
#endif
         emit(fact); m = 1 }
    :: atomic { g != gen_coordinators -> skip }
    fi;
    forget()
}

proctype Coordinator(byte me) {
    byte g, o, x, out_b, out_c; bit out_d;
    bit k_a, k_stop, k_fired_d, k_settled; byte k_b, k_c, k_deadline_at;
end:
    do
    :: atomic {
         gen_coordinators % 2 == me && folded < evn -> g = gen_coordinators;
#if WITHOUT == STALE_STATE
         if :: o == 0 -> load() :: else -> out_b = 0; out_c = 0; out_d = 0 fi;
#else
         load();
#endif
         x = ev[o]; fold(x)
       }
       if
       :: atomic { VALID(g, gen_coordinators) ->
            store(); folded = o + 1; o = o + 1;
            if :: x == FAIL_B -> m_heap = 1 :: else fi }
       :: atomic { g != gen_coordinators -> skip }
       fi;
       forget()
    :: atomic { gen_coordinators % 2 == me && c_b == WAITING && !c_stop && !m_due_b && KNOWN_B -> g = gen_coordinators }
       mark(m_due_b, DUE_B)
    :: atomic { gen_coordinators % 2 == me && c_c == WAITING && !c_stop && !m_due_c -> g = gen_coordinators }
       mark(m_due_c, DUE_C)
#ifndef NO_STOPPING
    :: atomic { gen_coordinators % 2 == me && (c_c == SCHEDULED || c_c == WAITING) && !c_stop && !m_deadline
         -> g = gen_coordinators }
       mark(m_deadline, DEADLINE_C)
    :: atomic { gen_coordinators % 2 == me && !cancelled && !c_settled && evn > 0 ->
         cancelled = 1; emit(CANCEL) }
#endif
    od
}

/* Processes come and go: at any moment, as often as REBALANCES says. */
proctype World() {
end:
    do
    :: atomic { rebalances < REBALANCES -> rebalances++; 
         if
         :: gen_agents++
         :: gen_coordinators++; m_due_b = 0; m_due_c = 0; m_deadline = 0; m_heap = 0
         fi }
    od
}

init {
    atomic {
        trig[T(A, 1)] = 1;
        run Agent(0); run Agent(1); run Coordinator(0); run Coordinator(1); run World()
    }
}

ltl live { <> (trig_d == 1 || c_settled) }

#ifdef REACH
/* Each of these must be violated: the state can be reached, so that the checks say something. */
ltl reach_join { [] !(trig_d == 1 && rebalances == REBALANCES) }
ltl reach_retry { [] !(trig_d == 1 && seen_retry) }
ltl reach_left_out { [] !(trig_d == 1 && seen_left_out) }
ltl reach_late { [] !seen_late }
ltl reach_settled { [] !(c_settled && rebalances == REBALANCES) }
ltl reach_zombie { [] !(seen_zombie && trig_d == 1) }
ltl reach_marker_twice { [] !(evn > 4 && ev[3] == DUE_B && ev[4] == DUE_B) }
#endif
