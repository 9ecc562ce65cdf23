defmodule Kantoku.Trace.ContextTest do
  use ExUnit.Case, async: true

  alias Kantoku.Trace.Context

  doctest Context

  @trace "0af7651916cd43dd8448eb211c80319c"
  @span "b7ad6b7169203331"

  test "version 00 is taken to the letter" do
    assert {:ok, %{sampled: true, random: false, remote: true}} = Context.parse("00-#{@trace}-#{@span}-01")
    assert {:ok, %{sampled: false, random: true}} = Context.parse("00-#{@trace}-#{@span}-02")
    assert {:ok, context} = Context.parse("00-#{@trace}-#{@span}-ff")
    assert Context.traceparent(context) == "00-#{@trace}-#{@span}-03"
  end

  for {name, header} <- [
        {"a version that is none", "ff-#{@trace}-#{@span}-01"},
        {"no version", "-#{@trace}-#{@span}-01"},
        {"something after version 00", "00-#{@trace}-#{@span}-01-more"},
        {"a version to come without a dash before what follows", "01-#{@trace}-#{@span}-01more"},
        {"capital letters", "00-#{String.upcase(@trace)}-#{@span}-01"},
        {"a capital version", "0A-#{@trace}-#{@span}-01"},
        {"a trace of zeros", "00-#{String.duplicate("0", 32)}-#{@span}-01"},
        {"a span of zeros", "00-#{@trace}-#{String.duplicate("0", 16)}-01"},
        {"a short trace", "00-#{String.slice(@trace, 1, 31)}-#{@span}-01"},
        {"other letters", "00-#{String.replace(@trace, "0", "g")}-#{@span}-01"},
        {"other dashes", "00_#{@trace}-#{@span}-01"},
        {"flags that are none", "00-#{@trace}-#{@span}-0x"},
        {"a space before", " 00-#{@trace}-#{@span}-01"},
        {"nothing", ""}
      ] do
    test "not right is #{name}", do: assert(Context.parse(unquote(header)) == :error)
  end

  test "a version to come is read by what it begins with, and answered in ours" do
    for header <- ["cc-#{@trace}-#{@span}-01", "cc-#{@trace}-#{@span}-01-what-the-future-will-be-like"] do
      assert {:ok, context} = Context.parse(header)
      assert Context.traceparent(context) == "00-#{@trace}-#{@span}-01"
    end
  end

  defp state(header) do
    {:ok, %{state: state}} = Context.parse("00-#{@trace}-#{@span}-01", header)
    state
  end

  test "tracestate is handed on as it came, without what is empty" do
    assert state(nil) == ""
    assert state("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE") == "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
    assert state("a=1 ,\t b=2,,  ,c= 3") == "a=1,b=2,c= 3"
    assert state("fw529a3039@dt=FfAAAAAAAA,1a@s=x") == "fw529a3039@dt=FfAAAAAAAA,1a@s=x"
    assert state(Enum.map_join(1..32, ",", &"k#{&1}=v")) =~ "k32=v"
  end

  test "tracestate that is not right is left out, and the rest holds" do
    for header <- [
          "A=1",
          "a",
          "a=",
          "=1",
          "a=1,a=2",
          "1a=1",
          "a=b=c",
          "a=é",
          "a@=1",
          "a@b@c=1",
          "a=#{String.duplicate("v", 257)}",
          "#{String.duplicate("k", 257)}=v",
          "a@#{String.duplicate("s", 15)}=v",
          "a=1\n",
          Enum.map_join(1..33, ",", &"k#{&1}=v")
        ],
        do: assert(state(header) == "", header)
  end

  test "numbers as other libraries have them" do
    assert {:ok, context} = Context.from_integers(0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331, true)
    assert Context.traceparent(context) == "00-#{@trace}-#{@span}-01"

    for {trace, span} <- [{0, 1}, {1, 0}, {2 ** 128, 1}, {1, 2 ** 64}],
        do: assert(Context.from_integers(trace, span, true) == :error)
  end
end
