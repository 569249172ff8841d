#define __STDC__ 1
#define __STDC_VERSION__ 201112L
#define __STDC_HOSTED__ 1
#define __GNUC__ 12
#define __GNUC_MINOR__ 2
#define __linux__ 1
#define __unix__ 1
#define __LP64__ 1
#define _LP64 1
#define __CHAR_BIT__ 8
#define __SCHAR_MAX__ 127
#define __SHRT_MAX__ 32767
#define __INT_MAX__ 2147483647
#define __LONG_MAX__ 9223372036854775807L
#define __LONG_LONG_MAX__ 9223372036854775807LL
#define __SIZEOF_SHORT__ 2
#define __SIZEOF_INT__ 4
#define __SIZEOF_LONG__ 8
#define __SIZEOF_LONG_LONG__ 8
#define __SIZEOF_POINTER__ 8
#define __SIZEOF_SIZE_T__ 8
#define __SIZEOF_PTRDIFF_T__ 8
#define __SIZEOF_INT128__ 16
#define __SIZE_TYPE__ unsigned long
#define __PTRDIFF_TYPE__ long
#define __INT8_TYPE__ signed char
#define __INT16_TYPE__ short
#define __INT32_TYPE__ int
#define __INT64_TYPE__ long
#define __UINT8_TYPE__ unsigned char
#define __UINT16_TYPE__ unsigned short
#define __UINT32_TYPE__ unsigned int
#define __UINT64_TYPE__ unsigned long
#define __UINTPTR_TYPE__ unsigned long
#define __INTPTR_TYPE__ long
#define __ORDER_LITTLE_ENDIAN__ 1234
#define __ORDER_BIG_ENDIAN__ 4321
#define __BYTE_ORDER__ __ORDER_LITTLE_ENDIAN__
#define __INT8_MAX__ 127
#define __UINT8_MAX__ 255
#define __INT_LEAST8_TYPE__ signed char
#define __UINT_LEAST8_TYPE__ unsigned char
#define __INT_LEAST8_MAX__ 127
#define __UINT_LEAST8_MAX__ 255
#define __INT_FAST8_TYPE__ signed char
#define __UINT_FAST8_TYPE__ unsigned char
#define __INT_FAST8_MAX__ 127
#define __UINT_FAST8_MAX__ 255
#define __INT16_MAX__ 32767
#define __UINT16_MAX__ 65535
#define __INT_LEAST16_TYPE__ short
#define __UINT_LEAST16_TYPE__ unsigned short
#define __INT_LEAST16_MAX__ 32767
#define __UINT_LEAST16_MAX__ 65535
#define __INT_FAST16_TYPE__ long
#define __UINT_FAST16_TYPE__ unsigned long
#define __INT_FAST16_MAX__ 9223372036854775807L
#define __UINT_FAST16_MAX__ 18446744073709551615UL
#define __INT32_MAX__ 2147483647
#define __UINT32_MAX__ 4294967295U
#define __INT_LEAST32_TYPE__ int
#define __UINT_LEAST32_TYPE__ unsigned int
#define __INT_LEAST32_MAX__ 2147483647
#define __UINT_LEAST32_MAX__ 4294967295U
#define __INT_FAST32_TYPE__ long
#define __UINT_FAST32_TYPE__ unsigned long
#define __INT_FAST32_MAX__ 9223372036854775807L
#define __UINT_FAST32_MAX__ 18446744073709551615UL
#define __INT64_MAX__ 9223372036854775807L
#define __UINT64_MAX__ 18446744073709551615UL
#define __INT_LEAST64_TYPE__ long
#define __UINT_LEAST64_TYPE__ unsigned long
#define __INT_LEAST64_MAX__ 9223372036854775807L
#define __UINT_LEAST64_MAX__ 18446744073709551615UL
#define __INT_FAST64_TYPE__ long
#define __UINT_FAST64_TYPE__ unsigned long
#define __INT_FAST64_MAX__ 9223372036854775807L
#define __UINT_FAST64_MAX__ 18446744073709551615UL
#define __INTMAX_TYPE__ long
#define __UINTMAX_TYPE__ unsigned long
#define __INTMAX_MAX__ 9223372036854775807L
#define __UINTMAX_MAX__ 18446744073709551615UL
#define __INTPTR_MAX__ 9223372036854775807L
#define __UINTPTR_MAX__ 18446744073709551615UL
#define __WCHAR_TYPE__ int
#define __WCHAR_MAX__ 2147483647
#define __WINT_TYPE__ unsigned int
#define __WINT_MAX__ 4294967295U
#define __CHAR16_TYPE__ unsigned short
#define __CHAR32_TYPE__ unsigned int
#define __SIZE_MAX__ 18446744073709551615UL
#define __PTRDIFF_MAX__ 9223372036854775807L
#define __SIZEOF_WCHAR_T__ 4
#define __SIZEOF_WINT_T__ 4
#define __BIGGEST_ALIGNMENT__ 16
#define __SCHAR_WIDTH__ 8
#define __SHRT_WIDTH__ 16
#define __INT_WIDTH__ 32
#define __LONG_WIDTH__ 64
#define __LONG_LONG_WIDTH__ 64
#define __SIZE_WIDTH__ 64
#define __PTRDIFF_WIDTH__ 64
#define __INTMAX_WIDTH__ 64
#define __INTPTR_WIDTH__ 64
#define __WCHAR_WIDTH__ 32
#define __WINT_WIDTH__ 32
