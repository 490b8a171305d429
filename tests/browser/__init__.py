"""The pages in a real Chromium, on a running product."""
