"""What ``compare`` measured of memory systems side by side: on a screen, as Markdown, as a page."""
