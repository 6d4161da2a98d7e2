// sqlite_version
//
// Says which SQLite the floors run on.

#include <sqlite3.h>
#include <stdio.h>

int main(void) { puts(sqlite3_libversion()); }
