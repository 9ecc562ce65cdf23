defmodule Kantoku.RegistryDocTest do
  use ExUnit.Case, async: true
  doctest Kantoku.Registry
end
