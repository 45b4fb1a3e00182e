%% JSON, read and written: OTP 25 has no module for it. Objects are maps with binary keys, strings are
%% binaries, and what is written is canonical: no blanks, keys sorted by bytes, UTF-8 as it is.
-module(otp_json).
-export([decode/1, encode/1, split/2]).

-type json() :: null | boolean() | number() | binary() | [json()] | #{binary() => json()}.

%% Reads one value; what follows it must be blank.
-spec decode(binary()) -> json().
decode(Text) ->
    {Value, Rest} = value(blank(Text)),
    <<>> = blank(Rest),
    Value.

-spec encode(json() | atom()) -> iodata().
encode(Value) when is_binary(Value) -> [$", escape(Value), $"];
encode(Value) when is_integer(Value) -> integer_to_binary(Value);
encode(Value) when is_float(Value) -> io_lib:format("~w", [Value]);
encode(Value) when is_atom(Value), Value =:= true; Value =:= false; Value =:= null ->
    atom_to_binary(Value);
encode(Value) when is_atom(Value) -> encode(atom_to_binary(Value));
encode(Value) when is_list(Value) -> [$[, lists:join($,, [encode(V) || V <- Value]), $]];
encode(Value) when is_map(Value) ->
    Fields = lists:sort([{key(K), V} || {K, V} <- maps:to_list(Value)]),
    [${, lists:join($,, [[encode(K), $:, encode(V)] || {K, V} <- Fields]), $}].

%% Cuts a text into the documents that are whole in it. What is left is for the next call, with more
%% text behind it, and so is the place up to which it has been looked at.
-spec split(binary(), State) -> {[binary()], State} when State :: start | tuple().
split(More, start) ->
    split(More, {<<>>, 0, 0, text});
split(More, {Kept, At, Depth, Mode}) ->
    cut(<<Kept/binary, More/binary>>, At, Depth, Mode, []).

cut(Text, At, Depth, Mode, Found) ->
    case {Text, Mode} of
        {<<_:At/binary>>, _} -> {lists:reverse(Found), {Text, At, Depth, Mode}};
        {<<_:At/binary, $\\, _, _/binary>>, string} -> cut(Text, At + 2, Depth, string, Found);
        %% The character that is escaped has not come yet.
        {<<_:At/binary, $\\>>, string} -> {lists:reverse(Found), {Text, At, Depth, Mode}};
        {<<_:At/binary, $", _/binary>>, string} -> cut(Text, At + 1, Depth, text, Found);
        {<<_:At/binary, $", _/binary>>, text} -> cut(Text, At + 1, Depth, string, Found);
        {<<_:At/binary, C, _/binary>>, text} when C =:= ${; C =:= $[ ->
            cut(Text, At + 1, Depth + 1, text, Found);
        {<<_:At/binary, C, Rest/binary>>, text} when (C =:= $} orelse C =:= $]), Depth =:= 1 ->
            cut(Rest, 0, 0, text, [binary:part(Text, 0, At + 1) | Found]);
        {<<_:At/binary, C, _/binary>>, text} when C =:= $}; C =:= $] ->
            cut(Text, At + 1, Depth - 1, text, Found);
        {<<_:At/binary, _, _/binary>>, _} -> cut(Text, At + 1, Depth, Mode, Found)
    end.

%% Reading.

value(<<$", Rest/binary>>) -> string(Rest, []);
value(<<$[, Rest/binary>>) -> array(blank(Rest));
value(<<${, Rest/binary>>) -> object(blank(Rest));
value(<<"true", Rest/binary>>) -> {true, Rest};
value(<<"false", Rest/binary>>) -> {false, Rest};
value(<<"null", Rest/binary>>) -> {null, Rest};
value(Text) -> number(Text).

array(<<$], Rest/binary>>) -> {[], Rest};
array(Text) -> array(Text, []).

array(Text, Found) ->
    {Value, Rest} = value(Text),
    case blank(Rest) of
        <<$,, More/binary>> -> array(blank(More), [Value | Found]);
        <<$], More/binary>> -> {lists:reverse(Found, [Value]), More}
    end.

object(<<$}, Rest/binary>>) -> {#{}, Rest};
object(Text) -> object(Text, #{}).

object(<<$", Text/binary>>, Found) ->
    {Key, Rest} = string(Text, []),
    <<$:, More/binary>> = blank(Rest),
    {Value, Tail} = value(blank(More)),
    case blank(Tail) of
        <<$,, Next/binary>> -> object(blank(Next), Found#{Key => Value});
        <<$}, Next/binary>> -> {Found#{Key => Value}, Next}
    end.

string(Text, Found) ->
    case plain(Text, 0) of
        {Plain, <<$", Rest/binary>>} -> {iolist_to_binary(lists:reverse(Found, [Plain])), Rest};
        {Plain, <<$\\, Rest/binary>>} ->
            {Character, More} = escaped(Rest),
            string(More, [Character, Plain | Found])
    end.

plain(Text, At) ->
    case Text of
        <<Plain:At/binary, C, _/binary>> when C =:= $"; C =:= $\\ ->
            {Plain, binary:part(Text, At, byte_size(Text) - At)};
        <<_:At/binary, _, _/binary>> -> plain(Text, At + 1)
    end.

escaped(<<$u, Hex:4/binary, Rest/binary>>) ->
    case {binary_to_integer(Hex, 16), Rest} of
        {High, <<"\\u", Hex2:4/binary, More/binary>>} when High >= 16#D800, High < 16#DC00 ->
            Low = binary_to_integer(Hex2, 16),
            {<<(16#10000 + (High - 16#D800) * 16#400 + Low - 16#DC00)/utf8>>, More};
        {Code, _} -> {<<Code/utf8>>, Rest}
    end;
escaped(<<C, Rest/binary>>) ->
    Character = maps:get(C, #{$n => $\n, $t => $\t, $r => $\r, $b => $\b, $f => $\f}, C),
    {<<Character>>, Rest}.

number(Text) ->
    {match, [{0, Length}]} = re:run(Text, <<"^-?[0-9]+(\\.[0-9]+)?([eE][-+]?[0-9]+)?">>, [{capture, first}]),
    <<Number:Length/binary, Rest/binary>> = Text,
    try {binary_to_integer(Number), Rest}
    catch error:badarg -> {binary_to_float(Number), Rest}
    end.

blank(<<C, Rest/binary>>) when C =:= $\s; C =:= $\n; C =:= $\t; C =:= $\r -> blank(Rest);
blank(Text) -> Text.

%% Writing.

key(Key) when is_atom(Key) -> atom_to_binary(Key);
key(Key) -> Key.

escape(Text) ->
    case re:run(Text, <<"[\\x00-\\x1f\"\\\\]">>, [{capture, none}]) of
        nomatch -> Text;
        match -> << <<(escape_byte(C))/binary>> || <<C>> <= Text >>
    end.

escape_byte($") -> <<"\\\"">>;
escape_byte($\\) -> <<"\\\\">>;
escape_byte($\n) -> <<"\\n">>;
escape_byte($\t) -> <<"\\t">>;
escape_byte($\r) -> <<"\\r">>;
escape_byte($\b) -> <<"\\b">>;
escape_byte($\f) -> <<"\\f">>;
escape_byte(C) when C < 16#20 -> iolist_to_binary(io_lib:format("\\u~4.16.0b", [C]));
escape_byte(C) -> <<C>>.
