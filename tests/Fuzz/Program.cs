using System.CommandLine;
using Yizhan.Fuzz;

return await new RootCommand("Sends what no honest peer would send, and says what went wrong.") { DicomFuzz.Create() }.Parse(args).InvokeAsync();
