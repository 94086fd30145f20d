%% The workloads of benches/peers/peripatos for Erlang: `main NAME SIZE...` runs one, a tenth of it first, and prints
%% NAME ITEMS SECONDS. What waits for a reply in Peripatos and need not in Erlang does not wait here.
-module(workloads).
-behaviour(gen_server).
-export([main/1, init/1, handle_call/3, handle_cast/2, echo/0]).

%% In a process of its own: who calls this collects the ends of all that it has spawned.
main(Args) ->
    {_, Monitor} = spawn_monitor(fun() -> measure(Args) end),
    receive
        {'DOWN', Monitor, process, _, normal} -> ok;
        {'DOWN', Monitor, process, _, Reason} -> io:format(standard_error, "~p~n", [Reason]), halt(1)
    end.

measure([Name | Sizes]) ->
    Numbers = [list_to_integer(Size) || Size <- Sizes],
    _ = run(Name, tenth(Numbers)),
    {Items, Microseconds} = run(Name, Numbers),
    io:format("~s ~b ~.6f~n", [Name, Items, Microseconds / 1.0e6]).

tenth([Size]) -> [divide(Size, 10)];
tenth([Count, Size]) -> [Count, divide(Size, 10)].

divide(Number, By) -> (Number + By - 1) div By.

%% Two processes, a message each way.
run("ping_pong", [Size]) ->
    Pong = spawn_link(?MODULE, echo, []),
    since(now_us(), ping(Pong, 0, Size));

%% A gen_server and a client.
run("call", [Size]) ->
    {ok, Server} = gen_server:start_link(?MODULE, [], []),
    Begun = now_us(),
    Sum = calls(Server, Size),
    Done = since(Begun, Sum),
    gen_server:stop(Server),
    Done;

%% A process of another operating system process of this machine, over TCP.
run("cross_process", [Size]) ->
    Path = filename:dirname(code:which(?MODULE)),
    {ok, Peer, Node} = peer:start_link(#{name => peer:random_name(), args => ["-pa", Path]}),
    Pong = spawn(Node, ?MODULE, echo, []),
    Done = since(now_us(), ping(Pong, 0, Size)),
    peer:stop(Peer),
    Done;

run("counting", [Size]) ->
    Counter = spawn_link(fun() -> counter(0) end),
    Begun = now_us(),
    [Counter ! {add, 1} || _ <- lists:seq(1, Size)],
    Size = ask_count(Counter),
    since(Begun, Size);

run("thread_ring", [Size]) ->
    Self = self(),
    [First | _] = Ring = [spawn_link(fun() -> ring(Self) end) || _ <- lists:seq(1, 100)],
    lists:foreach(fun({Link, Next}) -> Link ! {next, Next} end, lists:zip(Ring, tl(Ring) ++ [First])),
    Begun = now_us(),
    First ! {token, Size},
    Last = receive {last, Pid} -> Pid end,
    Last = lists:nth(Size rem 100 + 1, Ring),
    since(Begun, Size);

run("fork_join_create", [Size]) ->
    Begun = now_us(),
    Total = waves(Size, 0),
    Total = Size * (Size + 1) div 2,
    since(Begun, Size);

run("fork_join_throughput", [Size]) ->
    Each = divide(Size, 60),
    Counters = [spawn_link(fun() -> counter(0) end) || _ <- lists:seq(1, 60)],
    Begun = now_us(),
    [[Counter ! {add, 1} || Counter <- Counters] || _ <- lists:seq(1, Each)],
    Total = lists:sum([ask_count(Counter) || Counter <- Counters]),
    Total = Each * 60,
    since(Begun, Total);

%% Each asks, and answers while it waits.
run("big", [Size]) ->
    Self = self(),
    Each = divide(Size, 100),
    All = [spawn_link(fun() -> asker(Number, Each, Self) end) || Number <- lists:seq(1, 100)],
    Begun = now_us(),
    Tuple = list_to_tuple(All),
    [Pid ! {all, Tuple} || Pid <- All],
    Total = lists:sum([receive {done, Count} -> Count end || _ <- All]),
    Done = since(Begun, Total),
    Total = Each * 100,
    [begin unlink(Pid), exit(Pid, kill) end || Pid <- All],
    Done;

run("philosophers", [Count, Meals]) ->
    Self = self(),
    Forks = [spawn_link(fun() -> fork(0) end) || _ <- lists:seq(1, Count)],
    Seats = lists:zip3(lists:seq(1, Count), Forks, tl(Forks) ++ [hd(Forks)]),
    All = [spawn_link(fun() -> philosopher(Seat, Count, Meals, Self) end) || Seat <- Seats],
    Begun = now_us(),
    [Pid ! go || Pid <- All],
    Eaten = lists:sum([receive {done, Number} -> Number end || _ <- All]),
    Done = since(Begun, Eaten),
    Eaten = Count * Meals,
    lists:foreach(fun(Fork) -> Fork ! {uses, Self}, receive {uses, Uses} -> Uses = 2 * Meals end end, Forks),
    Done.

now_us() -> erlang:monotonic_time(microsecond).

since(Begun, Items) -> {Items, now_us() - Begun}.

echo() ->
    receive {From, Number} -> From ! Number + 1, echo() end.

ping(_, Number, 0) -> Number;
ping(Pong, Number, Left) ->
    Pong ! {self(), Number},
    receive Next when is_integer(Next) -> ping(Pong, Next, Left - 1) end.

init([]) -> {ok, 0}.
handle_call({add, Number}, _From, Sum) -> {reply, Sum + Number, Sum + Number}.
handle_cast(_, Sum) -> {noreply, Sum}.

calls(Server, 1) -> gen_server:call(Server, {add, 1});
calls(Server, Left) -> gen_server:call(Server, {add, 1}), calls(Server, Left - 1).

counter(Sum) ->
    receive
        {add, Number} -> counter(Sum + Number);
        {get, From} -> From ! {count, Sum}
    end.

ask_count(Counter) ->
    Counter ! {get, self()},
    receive {count, Count} -> Count end.

ring(Main) ->
    receive {next, Next} -> ring(Main, Next) end.
ring(Main, Next) ->
    receive
        {token, 0} -> Main ! {last, self()}, ring(Main, Next);
        {token, Left} -> Next ! {token, Left - 1}, ring(Main, Next)
    end.

waves(0, Total) -> Total;
waves(Left, Total) ->
    Self = self(),
    Wave = min(Left, 500),
    [spawn_link(fun() -> Self ! {told, Number} end) || Number <- lists:seq(Left - Wave + 1, Left)],
    waves(Left - Wave, Total + lists:sum([receive {told, Number} -> Number end || _ <- lists:seq(1, Wave)])).

asker(Number, Pings, Main) ->
    All = receive {all, Tuple} -> Tuple end,
    rand:seed(exsss, Number),
    ask_all(Pings, All),
    Main ! {done, Pings},
    answer().

ask_all(0, _) -> ok;
ask_all(Left, All) ->
    element(rand:uniform(100), All) ! {ping, self()},
    await_answer(),
    ask_all(Left - 1, All).

await_answer() ->
    receive
        {ping, From} -> From ! pong, await_answer();
        pong -> ok
    end.

answer() ->
    receive {ping, From} -> From ! pong, answer() end.

fork(Uses) ->
    receive
        {take, From} ->
            From ! taken,
            receive {give, From} -> From ! given end,
            fork(Uses + 1);
        {uses, From} -> From ! {uses, Uses}
    end.

philosopher({Number, Own, Next}, Count, Meals, Main) ->
    receive go -> ok end,
    {First, Second} = case Number of Count -> {Next, Own}; _ -> {Own, Next} end,
    eat(First, Second, Meals),
    Main ! {done, Meals}.

eat(_, _, 0) -> ok;
eat(First, Second, Left) ->
    take(First), take(Second), give(Second), give(First),
    erlang:yield(),
    eat(First, Second, Left - 1).

take(Fork) -> Fork ! {take, self()}, receive taken -> ok end.
give(Fork) -> Fork ! {give, self()}, receive given -> ok end.
