%% Work spread over two nodes of one scheduler each: `spread WORKLOAD UNITS...` on a node that has a name.
%%
%% skewed_spawn: all are spawned on the first node. skewed_pull: a worker on each node asks a master for the next one.
%% stuck: the first half of the list on one node, the second half on the other.
%%
%% Says: seconds from the first start to the last end; seconds a unit takes while both nodes are busy, before and after.
-module(spread).
-export([main/1, units/2]).

%% Units by which the speed is measured.
-define(GAUGE, 1000).

main([Workload | Units]) ->
    {ok, _, Other} = peer:start_link(#{
        name => list_to_atom("spread-peer-" ++ os:getpid()),
        args => ["+S", "1:1", "-pa" | code:get_path()]
    }),
    Nodes = [node(), Other],
    Loops = loops(1000),
    Before = gauge(Nodes, Loops),
    Took = seconds(fun() -> run(Workload, Nodes, Loops, [list_to_integer(U) || U <- Units]) end),
    After = gauge(Nodes, Loops),
    io:format("~w ~w ~w~n", [Took, Before, After]),
    halt().

run("skewed_spawn", [One, _], Loops, Units) ->
    wait([start(One, Loops, U) || U <- Units]);
run("skewed_pull", Nodes, Loops, Units) ->
    Self = self(),
    Workers = [spawn_monitor(N, fun() -> pull(Self, Loops) end) || N <- Nodes],
    hand_out(Units, length(Workers)),
    wait(Workers);
run("stuck", [One, Two], Loops, Units) ->
    {Here, There} = lists:split(length(Units) div 2, Units),
    wait([start(One, Loops, U) || U <- Here] ++ [start(Two, Loops, U) || U <- There]).

start(Node, Loops, Units) -> spawn_monitor(Node, ?MODULE, units, [Units, Loops]).

wait(Processes) ->
    [receive {'DOWN', Ref, process, Pid, normal} -> ok end || {Pid, Ref} <- Processes].

pull(Master, Loops) ->
    Master ! {next, self()},
    receive
        done -> ok;
        Units -> units(Units, Loops), pull(Master, Loops)
    end.

hand_out(_, 0) -> ok;
hand_out([], Workers) -> receive {next, W} -> W ! done, hand_out([], Workers - 1) end;
hand_out([U | Rest], Workers) -> receive {next, W} -> W ! U, hand_out(Rest, Workers) end.

gauge(Nodes, Loops) ->
    seconds(fun() -> wait([start(N, Loops, ?GAUGE) || N <- Nodes]) end) / ?GAUGE.

%% Turns of the loop in about a millisecond.
loops(Turns) ->
    case seconds(fun() -> spin(Turns, 1) end) of
        Took when Took < 0.05 -> loops(2 * Turns);
        Took -> round(Turns / Took / 1000)
    end.

units(Units, Loops) -> spin(Units * Loops, 1).

spin(0, X) -> X;
spin(N, X) -> spin(N - 1, (X * 1103515245 + 12345) band 16#7fffffff).

seconds(Do) ->
    Begun = erlang:monotonic_time(microsecond),
    Do(),
    (erlang:monotonic_time(microsecond) - Begun) / 1.0e6.
