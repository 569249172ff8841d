#pragma once
#include <stddef.h>
typedef struct _IO_FILE FILE;
extern FILE *stdin;
extern FILE *stdout;
extern FILE *stderr;
#define EOF (-1)
#define SEEK_SET 0
#define SEEK_CUR 1
#define SEEK_END 2
int printf(const char *format, ...);
int fprintf(FILE *file, const char *format, ...);
int sprintf(char *to, const char *format, ...);
int snprintf(char *to, size_t size, const char *format, ...);
int scanf(const char *format, ...);
int sscanf(const char *text, const char *format, ...);
int puts(const char *text);
int putchar(int byte);
int getchar(void);
int fputs(const char *text, FILE *file);
int fputc(int byte, FILE *file);
int fgetc(FILE *file);
char *fgets(char *to, int size, FILE *file);
FILE *fopen(const char *path, const char *mode);
int fclose(FILE *file);
int fflush(FILE *file);
size_t fread(void *to, size_t size, size_t count, FILE *file);
size_t fwrite(const void *from, size_t size, size_t count, FILE *file);
int fseek(FILE *file, long offset, int whence);
long ftell(FILE *file);
int feof(FILE *file);
int ferror(FILE *file);
void perror(const char *text);
int getc(FILE *file);
int putc(int byte, FILE *file);
int ungetc(int byte, FILE *file);
int fscanf(FILE *file, const char *format, ...);
void rewind(FILE *file);
void clearerr(FILE *file);
int fileno(FILE *file);
int remove(const char *path);
int rename(const char *from, const char *to);
void setbuf(FILE *file, char *buffer);
