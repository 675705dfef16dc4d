"""What goes out as files: whole and under free names (files), to places that were looked at before (places), as rows
for other programs (forms), named as documents say (names)."""
