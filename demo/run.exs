# The main job: `mix run demo/run.exs -- [DIR] [OPTIONS]`, which `--help` lists.

Code.require_file("load.exs", __DIR__)
Demo.Console.main(System.argv())
