#pragma once
#include <stddef.h>
long read(int fd, void *to, size_t size);
long write(int fd, const void *from, size_t size);
int close(int fd);
int getpid(void);
unsigned int sleep(unsigned int seconds);
int usleep(unsigned int microseconds);
void _exit(int status);
