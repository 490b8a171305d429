"""A Peruri that runs as its own process, with faults to switch on and a page to do it. Nothing real is bought."""
